"""The stages of a dvc.lock, and what of them is no longer so in the working tree.

Hashes are taken without DVC, whose own look takes seconds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw1.run.errors import InputError
from hw1.run.files import dvc_hash
from hw1.run.parameters.yaml_reader import parse_yaml, read_yaml

KEPT = ("metrics", "plots")  # folders of the outputs that git keeps
Parameters = Mapping[tuple[str, str], Any]  # by file and key


@dataclass(frozen=True)
class LockedStage:
    """One stage of a dvc.lock: its command, parameters by file and key, and hashes by path."""

    command: str
    declared: Parameters
    reads: Mapping[str, str]
    writes: Mapping[str, str]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "LockedStage":
        declared = {(file, key): value for file, keys in entry.get("params", {}).items() for key, value in keys.items()}
        reads, writes = (
            {each["path"]: each.get("md5", "") for each in entry.get(kind, ())} for kind in ("deps", "outs")
        )
        return cls(entry["cmd"], declared, reads, writes)

    @property
    def parameters(self) -> Parameters:
        """Values by file and dotted path, down to the last."""
        return {(file, path): leaf for (file, key), value in self.declared.items() for path, leaf in leaves(value, key)}


Stages = Mapping[str, LockedStage]


def stages_of(lock: bytes, name: str) -> dict[str, LockedStage]:
    """The stages of a dvc.lock; InputError if it is none."""
    try:
        return {stage: LockedStage.of(entry) for stage, entry in parse_yaml(lock, name)["stages"].items()}
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{name}: not a dvc.lock; run `dvc repro`") from None


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of each parameter below one."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from leaves(each, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def is_source(path: str, made: Iterable[str]) -> bool:
    """Tell whether no stage makes the file or folder, a part of it, or what it is a part of."""
    return not any(within(path, out) or within(out, path) for out in made)


def changes(then: Parameters, now: Parameters) -> list[tuple[str, str, str]]:
    """File and key of each value that differs, and both values as text."""
    values = [(*place, then.get(place, "absent"), now.get(place, "absent")) for place in sorted({*then, *now})]
    return [(file, key, f"{key} {old} -> {new}") for file, key, old, new in values if old != new]


def outdated(stages: Stages) -> list[str]:
    """Inputs that are not those of the stages' last run; empty after `dvc repro`.

    A command changed in dvc.yaml is not among them: its templates are DVC's to fill in.
    """
    files = {file: read_yaml(file) for file in {file for stage in stages.values() for file, _ in stage.declared}}
    made = {path: md5 for stage in stages.values() for path, md5 in stage.writes.items()}
    sources = {path for stage in stages.values() for path in stage.reads if is_source(path, made)}
    hashes = made | {path: _digest(path) for path in sources}
    reasons: list[str] = []
    for stage in stages.values():
        current = {
            (file, path): leaf for file, key in stage.declared for path, leaf in leaves(_value(files[file], key), key)
        }
        reasons += [text for _, _, text in changes(stage.parameters, current)]
        reasons += [path for path, md5 in stage.reads.items() if hashes.get(path, md5) != md5]
    return list(dict.fromkeys(reasons))


def edited(stages: Stages) -> set[str]:
    """Outputs kept by git that are on disk, and not as their stage wrote them."""
    outs = {path: md5 for stage in stages.values() for path, md5 in stage.writes.items()}
    return {path for path, md5 in outs.items() if path.partition("/")[0] in KEPT and _digest(path) not in ("", md5)}


def declared_stages() -> list[str]:
    """Names of the stages of dvc.yaml, each of a ``foreach`` by itself; dvc.lock keeps those of removed settings."""
    names = []
    for name, entry in read_yaml("dvc.yaml")["stages"].items():
        keys = entry.get("foreach")
        if isinstance(keys, str):  # ${settings}
            keys = _value(read_yaml("params.yaml"), keys.strip("${}"))
        names += [name] if keys is None else [f"{name}@{key}" for key in keys]
    return names


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part, {}) if isinstance(values, Mapping) else {}
    return values


def _digest(path: str) -> str:
    """DVC's hash of a file or folder; "" where there is none."""
    return dvc_hash(Path(path)) if Path(path).exists() else ""
