"""Origin of a figure or table of the page: its stages, and of each command, parameters, data, environment.

Read from dvc.lock, which DVC brings up to date after each stage. Commit, device and date of a training are no part of
the page, or it would be another file after each run of the same: they stand beside it, in ``records.js``.
"""

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from hw1.run.errors import InputError
from hw1.run.lockfile import LockedStage, stages_of, within
from hw1.run.parameters.params import Params, flat, load
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
class Provenance:
    """Every stage as it ran last, by its name, none where no dvc.lock is at hand; the nearest preset and its values."""

    stages: Mapping[str, LockedStage]
    preset: str
    values: Mapping[str, Any]

    @classmethod
    def read(cls, params: Params, lock: Path, presets: Path) -> "Provenance":
        try:
            stages = stages_of(lock.read_bytes(), str(lock))
        except (OSError, InputError):  # a stage run by hand: the page is whole without
            stages = {}
        removed = {name for name in stages if name.startswith("finetune@") and name[9:] not in params.settings}
        return cls(
            {name: stage for name, stage in stages.items() if name not in removed}, *nearest_preset(params, presets)
        )

    def of(self, shown: str) -> dict[str, LockedStage]:
        """The stages that lead to a figure or table, in the order in which they ran; among equals by name."""
        patterns = next(ORIGINS[beginning] for beginning in ORIGINS if shown.startswith(beginning))
        wanted = [name for pattern in patterns for name in fnmatch.filter(self.stages, pattern)]
        graph: dict[str, set[str]] = {}
        while wanted:
            name = wanted.pop()
            if name not in graph:
                graph[name] = set() if name in OF_ALL else self._before(name)
                wanted += graph[name]
        results = graph.keys() - set(OF_ALL)
        for number, name in enumerate(OF_ALL):
            if name in graph:
                graph[name] = results | (graph.keys() & set(OF_ALL[:number]))
        sorter, order = TopologicalSorter(graph), []
        sorter.prepare()
        while sorter.is_active():
            ready = sorted(sorter.get_ready())
            order += ready
            sorter.done(*ready)
        return {name: self.stages[name] for name in order}

    def _before(self, name: str) -> set[str]:
        """The stages of which this one read an output, or a part of it, or a folder that holds it."""
        reads = self.stages[name].reads
        return {
            other
            for other, stage in self.stages.items()
            if other != name and any(within(one, path) or within(path, one) for one in reads for path in stage.writes)
        }

    def differing(self, stage: LockedStage) -> dict[str, Any]:
        """Parameters by dotted path that are not the preset's."""
        used = {
            key: tuple(value) if isinstance(value, list) else value
            for (file, key), value in stage.parameters.items()
            if file == "params.yaml"
        }
        return {key: value for key, value in used.items() if key not in self.values or self.values[key] != value}

    def environment(self, stage: LockedStage) -> dict[str, str]:
        """Versions of the packages that a stage depends on."""
        return {key: value for (file, key), value in stage.declared.items() if file == "environment.json"}

    def history(self, name: str) -> Path | None:
        """The CSV of a training; None for another stage."""
        files = (Path(path) for path in self.stages[name].writes if path.endswith(".csv"))
        return next(files, None) if name.partition("@")[0] in TRAINING else None


def nearest_preset(params: Params, presets: Path) -> tuple[str, dict[str, Any]]:
    """Name and values of the file in ``presets`` from which the fewest values differ; ("", {}) if there is no file."""
    used, files = flat(params, *vars(params)), {}
    for path in sorted(presets.glob("*.yaml")):
        preset = load(path)
        files[path.name] = flat(preset, *vars(preset))

    def differences(name: str) -> int:
        return sum(files[name].get(key) != value for key, value in used.items())

    nearest = min(files, key=differences, default="")
    return nearest, files.get(nearest, {})


def write_records(provenance: Provenance, path: Path) -> None:
    """Write the records of the trainings whose histories are here, by stage, as the script that the page looks for."""
    histories = {name: provenance.history(name) for name in sorted(provenance.stages)}
    records = {name: record for name, csv in histories.items() if csv and (record := record_of(csv))}
    path.write_text(f"window.records = {json.dumps(records, indent=1)};\n", encoding="utf-8")
