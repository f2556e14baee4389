"""Draw the settings' accuracies over a parameter that experiments vary: ``python -m hw1.experiments.across lr``.

Takes the working tree and every finished experiment whose parameters differ from its own in that one alone, with
its own settings; prints their table, and with ``--out`` draws a line per setting with the 95 % intervals of the
accuracies.
"""

import argparse
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hw1.experiments.pipeline import finished, parameters_of, text_of
from hw1.report.canvas import colour, grid, save
from hw1.run.errors import InputError
from hw1.run.files import folder_hash
from hw1.run.lockfile import stages_of
from hw1.run.parameters.params import load
from hw1.run.processes.supervision import run_stage
from hw1.statistics.intervals import wilson_interval

METRICS = "metrics/p2.json"
HISTORIES = "models/history/finetune"
PREDICTIONS = "plots/predictions/p2.csv"


@dataclass(frozen=True)
class Point:
    """One experiment: its name, the parameter's value, the accuracy of each setting, the number of images."""

    name: str
    value: float
    accuracy: Mapping[str, float]
    images: int


def points(key: str) -> list[Point]:
    """By value; InputError if the parameter is no number, or nothing varies it.

    An experiment without the parameter is left out, and so is one whose name another commit has too.
    """
    value, here = apart(parameters_of(), key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(f"{key}: is {value!r} in params.yaml; give a parameter that is a number, such as lr")
    found = [_point("working tree", value, Path(METRICS).read_text(), Path(PREDICTIONS).read_text())]
    for name in finished():
        with contextlib.suppress(InputError):
            value, theirs = apart(parameters_of(name), key)
            new = theirs == here and value not in [point.value for point in found]
            if new and scores_its_models(text_of("dvc.lock", name).encode(), here["settings"]):
                found.append(_point(name, value, text_of(METRICS, name), text_of(PREDICTIONS, name)))
    if len(found) < 2:
        raise InputError(f"{key}: no finished experiment varies it alone; `dvc exp run -S {key}=...` makes one")
    return sorted(found, key=lambda point: point.value)


def scores_its_models(lock: bytes, settings: Mapping[str, Any]) -> bool:
    """Whether the trainings that ``evaluate@p2`` scored are the last of the settings' stages, by the histories in a
    dvc.lock.

    Of an experiment that trained one setting alone the numbers are those of before.
    """
    stages = stages_of(lock, "dvc.lock")
    try:
        outputs = {name: md5 for key in settings for name, md5 in stages[f"finetune@{key}"].writes.items()}
        scored = stages["evaluate@p2"].reads[HISTORIES]
    except KeyError:
        return False
    inside = f"{HISTORIES}/"
    files = {path.removeprefix(inside): md5 for path, md5 in outputs.items() if path.startswith(inside)}
    return scored == folder_hash(files)


def apart(parameters: dict[str, Any], key: str) -> tuple[Any, dict[str, Any]]:
    """Takes the value under a dotted key out: the value, and all others; InputError without it."""
    *folders, last = key.split(".")
    node = parameters
    for folder in folders:
        node = node.get(folder) if isinstance(node, dict) else None
    if not isinstance(node, dict) or last not in node:
        raise InputError(f"{key}: not in params.yaml")
    return node.pop(last), parameters


def _point(name: str, value: float, metrics: str, predictions: str) -> Point:
    return Point(name, float(value), json.loads(metrics)["accuracy"], len(predictions.splitlines()) - 1)


def table(found: list[Point], key: str) -> pd.DataFrame:
    """A row per experiment: name, value, accuracies."""
    return pd.DataFrame([{"experiment": point.name, key: point.value, **point.accuracy} for point in found])


def draw(found: list[Point], key: str, path: Path) -> None:
    figure, (panel,) = grid(1, 1, (6.4, 4.2), f"Problem 2: accuracy over {key}, {found[0].images} validation images")
    for index, setting in enumerate(found[0].accuracy):
        values, shares = (list(column) for column in zip(*((p.value, p.accuracy[setting]) for p in found), strict=True))
        bounds = [wilson_interval(share, point.images) for share, point in zip(shares, found, strict=True)]
        shifted = [value * (1 + 0.02 * (index - 2)) for value in values]  # or the bars would hide each other
        bars = [
            [100 * (share - low) for share, (low, _) in zip(shares, bounds, strict=True)],
            [100 * (high - share) for share, (_, high) in zip(shares, bounds, strict=True)],
        ]
        panel.errorbar(
            shifted, [100 * share for share in shares], yerr=bars, color=colour(index), marker="o", capsize=2,
            elinewidth=0.8, label=f"setting {setting}",
        )  # fmt: skip
    panel.set_xscale("log")
    panel.set_xlabel(key)
    panel.set_ylabel("images classified right (%)")
    panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hw1.experiments.across",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("key", help="the parameter, such as lr or finetune.epochs")
    parser.add_argument("--out", type=Path, help="the PNG to write")
    args = parser.parse_args()
    load()
    found = points(args.key)
    print(table(found, args.key).to_string(index=False, float_format=lambda number: f"{number:.4g}"))
    if args.out:
        draw(found, args.key, args.out)


if __name__ == "__main__":
    run_stage(main)
