"""The versions that results come from: environment.json, of which DVC reads each stage's as parameters.

``make setup`` writes it; dvc.yaml says which of them a stage imports. So another version reruns the stages that it can
change and no others. A stage that finds other versions installed says so and goes on.
"""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hw1.run.errors import InputError
from hw1.run.files import project_root, whole_file
from hw1.run.processes.supervision import SENT_ON, repro, run_stage

FILE = Path("environment.json")
COMMAND = "python -m hw1.run.environment"
# What computes, draws or writes a result. Left out is what only carries one to the byte: safetensors, gdown, requests.
PACKAGES = (
    *("jinja2", "matplotlib", "numpy", "pandas", "pillow"),
    *("scikit-learn", "scipy", "torch", "torchvision"),
)


def installed() -> dict[str, str]:
    """The version of Python, without its patch, and of each installed package, without its build.

    2.15.0+cpu and 2.15.0+cu130 are one release of torch, built for other devices.
    """
    from importlib import metadata  # takes longer than all else here; most stages need not look

    versions = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package).partition("+")[0]
    return versions


def recorded(path: Path = FILE) -> dict[str, str]:
    """The versions that a file says; none where it does not exist.

    Raises:
        InputError: it is no JSON object of versions.
    """
    try:
        versions = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{path}: {error}; write it anew by `{COMMAND}`") from None
    if not isinstance(versions, dict) or not all(isinstance(version, str) for version in versions.values()):
        raise InputError(f"{path}: no object of versions as text; write it anew by `{COMMAND}`")
    return versions


def record(path: Path = FILE) -> None:
    """Write what is installed, if the file says anything else, and print what changed.

    Raises:
        InputError: a package is missing.
    """
    versions = installed()
    if missing := [package for package in PACKAGES if package not in versions]:
        raise InputError(f"{', '.join(missing)}: not installed in {sys.prefix}; install it there")
    text = json.dumps(versions, indent=2) + "\n"
    if path.exists() and path.read_bytes() == text.encode():
        return
    before = {}
    with suppress(InputError):  # a merge's marks in it, such as go by writing it
        before = recorded(path)
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
    changes = [f"{name} {old} -> {new}" for name, old, new in differing(before, versions)]
    advice = "`dvc repro` reruns the stages it can change, `dvc commit -f` keeps their results"
    print(f"{path}: {', '.join(changes) or 'written'}; {advice}")


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Name and both versions of what differs; what only one of them has is passed over."""
    return [(name, old, now[name]) for name, old in before.items() if now.get(name, old) != old]


def tell_others() -> None:
    """Say in a line on stderr which installed versions are not those of the file, once for each ``dvc repro``."""
    if (before := recorded()) and first_to_tell("environment") and (others := differing(before, installed())):
        says = ", ".join(f"{name} {old} (installed: {new})" for name, old, new in others)
        advice = f"`{COMMAND}` writes down what is installed, `dvc repro` then reruns the stages it can change"
        print(f"{FILE} says {says}; {advice}", file=sys.stderr)


def first_to_tell(subject: str) -> bool:
    """Tell whether this process is the one to speak of ``subject``: the first stage of a ``dvc repro``, or a stage
    started by hand; of ranks, whoever started them.
    """
    if SENT_ON in os.environ or os.environ.get("RANK", "0") != "0":
        return False
    if "DVC_STAGE" not in os.environ:
        return True
    mark, run = project_root() / f".dvc/tmp/{subject}.told", repro()
    with suppress(OSError):  # no such folder, or a disk that takes nothing
        if mark.exists() and mark.read_text() == run:
            return False
        mark.write_text(run)
    return True


if __name__ == "__main__":
    run_stage(record)
