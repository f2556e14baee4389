"""Where a figure or table of the page comes from: its stages, and of each command, parameters, data, environment.

Read from dvc.lock, which DVC brings up to date after each stage. Commit, device and date of a training are no part of
the page, or it would be another file after each run of the same: they stand beside it, in ``records.js``.
"""

import fnmatch
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from hw1.run.errors import InputError
from hw1.run.parameters.params import Params, flat, load
from hw1.run.parameters.yaml_reader import read_yaml
from hw1.run.tracking.whereabouts import record_of

# The stages whose outputs a figure or table shows, by the beginning of its name; the first that fits counts.
ORIGINS = {
    "start_curves": ("start@*", "plots"),
    "claims": ("evaluate@*", "compare"),
    "seeds": ("evaluate@*", "compare"),
    "results": ("evaluate@*", "compare"),
    "data": ("prepare@*",),
    "settings.start": ("start@*",),
    "settings.p1.A": ("classify@A",),
    "settings.p1.B": ("classify@B",),
    "settings.byol": ("pretrain@byol",),
    "settings.supervised": ("pretrain@supervised",),
    "settings.finetune": ("finetune@*",),
    "settings.p3.A": ("segment@A",),
    "settings.p3.B": ("segment@B",),
    "p1_projections": ("evaluate@p1",),
    "p1": ("evaluate@p1", "compare", "plots"),
    "p2_pretraining": ("pretrain@*", "plots"),
    "p2_networks": ("pretrain@*", "plots"),
    "p2_features": ("pretrain@*",),
    "p2_pairs": ("evaluate@p2", "compare"),
    "p2": ("evaluate@p2", "compare", "plots"),
    "p3_iou": ("evaluate@p3", "compare"),
    "p3": ("evaluate@p3", "compare", "plots"),
}
# Depend on every result: what is before them is said by the stages named with them.
OF_ALL = ("histories", "compare", "plots")
TRAINING = {"start", "classify", "pretrain", "finetune", "segment"}


@dataclass(frozen=True)
class Stage:
    """One stage as it ran last: its command, parameters by dotted path that are not the preset's, versions of the
    packages that it depends on, and by path the MD5 of what it ``read`` and ``wrote``.
    """

    name: str
    command: str
    differing: Mapping[str, Any]
    read: Mapping[str, str]
    wrote: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def history(self) -> Path | None:
        """The CSV of a training."""
        files = (Path(path) for path in self.wrote if path.endswith(".csv"))
        return next(files, None) if self.name.partition("@")[0] in TRAINING else None

    def follows(self, other: "Stage") -> bool:
        """Whether it read what ``other`` wrote, or a part, or a folder that holds it."""
        return any(_within(one, path) or _within(path, one) for one in self.read for path in other.wrote)


@dataclass(frozen=True)
class Provenance:
    """Every stage by its name, none where no dvc.lock is at hand; and the preset that params.yaml is nearest to."""

    preset: str = ""
    stages: Mapping[str, Stage] = field(default_factory=dict)

    @classmethod
    def read(cls, params: Params, lock: Path, presets: Path) -> "Provenance":
        preset, values = nearest_preset(params, presets)
        try:
            locked = read_yaml(lock).get("stages", {})
        except InputError:  # a stage run by hand: the page is whole without
            locked = {}
        settings = {f"finetune@{key}" for key in params.settings}  # dvc.lock keeps those that were removed
        here = {name: entry for name, entry in locked.items() if not name.startswith("finetune@") or name in settings}
        return cls(preset, {name: _stage(name, entry, values) for name, entry in here.items()})

    def of(self, shown: str) -> list[Stage]:
        """The stages that lead to a figure or table, in the order in which they ran."""
        patterns = next(ORIGINS[beginning] for beginning in ORIGINS if shown.startswith(beginning))
        wanted = [name for pattern in patterns for name in fnmatch.filter(self.stages, pattern)]
        graph: dict[str, set[str]] = {}
        while wanted:
            name = wanted.pop()
            if name not in graph:
                graph[name] = set() if name in OF_ALL else self._before(self.stages[name])
                wanted += graph[name]
        results = graph.keys() - set(OF_ALL)
        for number, name in enumerate(OF_ALL):
            if name in graph:
                graph[name] = results | (graph.keys() & set(OF_ALL[:number]))
        return [self.stages[name] for name in _in_order(graph)]

    def _before(self, stage: Stage) -> set[str]:
        return {other.name for other in self.stages.values() if other is not stage and stage.follows(other)}


def _in_order(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Stages after those they follow; among equals by name, so that a page is the same each time."""
    sorter, order = TopologicalSorter(graph), []
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _stage(name: str, entry: Mapping[str, Any], preset: Mapping[str, Any]) -> Stage:
    """From its entry in dvc.lock."""
    params = entry.get("params", {})
    used = _flat(params.get("params.yaml", {}))
    return Stage(
        name=name,
        command=" ".join(entry["cmd"].split()),
        differing={key: value for key, value in used.items() if key not in preset or preset[key] != value},
        read={file["path"]: file.get("md5", "") for file in entry.get("deps", ())},
        wrote={file["path"]: file.get("md5", "") for file in entry.get("outs", ())},
        environment=params.get("environment.json", {}),
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted path; dvc.lock has nested keys as well as dotted ones."""
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flattened |= _flat(value, f"{path}.")
        else:
            flattened[path] = tuple(value) if isinstance(value, list) else value
    return flattened


def nearest_preset(params: Params, presets: Path) -> tuple[str, dict[str, Any]]:
    """Name and values of the file in ``presets`` from which the fewest values differ; ("", {}) if there is no file."""
    here, files = flat(params, *vars(params)), {}
    for path in sorted(presets.glob("*.yaml")):
        preset = load(path)
        files[path.name] = flat(preset, *vars(preset))

    def differences(name: str) -> int:
        return sum(files[name].get(key) != value for key, value in here.items())

    nearest = min(files, key=differences, default="")
    return nearest, files.get(nearest, {})


def write_records(provenance: Provenance, path: Path) -> None:
    """The records of the trainings whose histories are here, by stage, as the script that the page looks for."""
    found = {stage.name: record_of(stage.history) for stage in provenance.stages.values() if stage.history}
    records = {name: record for name, record in sorted(found.items()) if record}
    path.write_text(f"window.records = {json.dumps(records, indent=1)};\n", encoding="utf-8")
