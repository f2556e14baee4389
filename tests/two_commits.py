"""Run the pipeline of two commits and compare all they leave, byte for byte: does a change change a result?

``make check``: the quick preset, each commit's own, BASE's run and then HEAD's, each in a folder and with a cache of
its own, without tracking. BASE is the commit at which the branch left its upstream; where it has none, or nothing of
its own, the commit before HEAD. ``make check BASE=v1 TINY=1`` takes another, and the data of the test suite.
Exit status 1 and the list, models tensor by tensor, if anything differs.
"""

import argparse
import filecmp
import json
import subprocess
import sys
import tempfile
import time
from itertools import zip_longest
from pathlib import Path

import yaml
from tiny_project import ROOT, STARTUP, Project, tiny

SHOWN = 5  # names of a model's tensors


def git(folder: Path, *arguments: str) -> str:
    """The output of a git command; its own error ends the program."""
    done = subprocess.run(["git", *arguments], cwd=folder, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"error: `git {' '.join(arguments)}` ended with {done.returncode}")
    return done.stdout.strip()


def default_base(repository: Path) -> str:
    """The commit at which HEAD's branch left its upstream, or, if that is HEAD or there is none, the one before."""
    command = ["git", "merge-base", "HEAD", "@{upstream}"]
    left = subprocess.run(command, cwd=repository, capture_output=True, text=True).stdout.strip()
    return left if left not in ("", git(repository, "rev-parse", "HEAD")) else git(repository, "rev-parse", "HEAD^")


def rebuilt(commit: str, folder: Path, on_tiny: bool) -> Path:
    """The folder in which every stage of a commit has run, with the quick preset or ``on_tiny`` data."""
    source, run = folder / "source", folder / "run"
    run.mkdir(parents=True)
    git(ROOT, "clone", "-q", "--shared", "--no-checkout", str(ROOT), str(source))  # shared: has any commit we have
    git(source, "checkout", "-q", "--detach", commit)
    preset = source / "presets/quick.yaml"
    params = tiny(preset=preset) if on_tiny else preset.read_text()
    # Without our own root on the path, from which a commit could take a module that it lacks.
    project = Project(run, params, source, HW1_TRACKING="off", PYTHONPATH=str(STARTUP), WITHOUT_COMPILER="")
    print(git(ROOT, "log", "-1", "--format=%h %s", commit), end=" ... ", flush=True)
    start = time.monotonic()
    try:
        project.run("dvc", "repro")
    except AssertionError as error:
        sys.exit(f"error: {error}")
    print(f"{(time.monotonic() - start) / 60:.1f} min", flush=True)
    return run


def outputs(folder: Path) -> set[str]:
    """Paths, relative to the folder of a finished run, of all files that its stages left."""
    files = set()
    for stage in yaml.safe_load((folder / "dvc.lock").read_text())["stages"].values():
        for out in stage.get("outs", ()):
            path = folder / out["path"]
            files |= set(path.rglob("*") if path.is_dir() else [path])
    return {path.relative_to(folder).as_posix() for path in files if path.is_file()}


def differences(before: Path, after: Path) -> list[str]:
    """One line for each output that only one of two finished runs has or that is not equal in both."""
    earlier, later = outputs(before), outputs(after)
    lines = [f"{path}: only {'before' if path in earlier else 'after'}" for path in earlier ^ later]
    for path in earlier & later:
        if not filecmp.cmp(before / path, after / path, shallow=False):
            lines.append(f"{path}: {difference(before / path, after / path)}")
    return sorted(lines)


def difference(before: Path, after: Path) -> str:
    """The place where two files differ: which tensors of a model, from which line of a text on."""
    if before.suffix == ".safetensors":
        earlier, later = tensors(before), tensors(after)
        names = [name for name in earlier | later if earlier.get(name) != later.get(name)]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"{', '.join(names[:SHOWN])}{more}" if names else "the order of the tensors"
    if before.suffix in (".csv", ".json", ".html"):
        pairs = zip_longest(before.read_bytes().splitlines(True), after.read_bytes().splitlines(True))
        return f"from line {next(number for number, (one, other) in enumerate(pairs, 1) if one != other)} on"
    return "other bytes"


def tensors(path: Path) -> dict[str, object]:
    """Type, shape and bytes of each tensor of a safetensors file, by name, and its metadata; {} of an empty file."""
    content = path.read_bytes()
    if not content:
        return {}
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    found: dict[str, object] = {f"metadata {key}": text for key, text in header.pop("__metadata__", {}).items()}
    for name, entry in header.items():
        first, end = entry["data_offsets"]
        found[name] = entry["dtype"], entry["shape"], content[start + first : start + end]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="the commit to compare HEAD with")
    parser.add_argument("--tiny", action="store_true", help="the data and networks of the test suite")
    args = parser.parse_args()
    commits = [git(ROOT, "rev-parse", f"{name}^{{commit}}") for name in (args.base or default_base(ROOT), "HEAD")]
    if git(ROOT, "status", "--porcelain"):
        print("the working tree has changes that are not in HEAD; they are left out")
    with tempfile.TemporaryDirectory(prefix="hw1-check-") as folder:
        before, after = (rebuilt(commit, Path(folder, str(number)), args.tiny) for number, commit in enumerate(commits))
        different, number = differences(before, after), len(outputs(before) | outputs(after))
    if different:
        print("\n".join(different))
        sys.exit(f"{len(different)} of {number} output files differ")
    print(f"all {number} output files are equal, byte for byte")


if __name__ == "__main__":
    main()
