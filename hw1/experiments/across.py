"""Draw the settings' accuracies over a parameter that experiments vary: ``python -m hw1.experiments.across lr``.

Takes the working tree and every finished experiment whose parameters differ from its own in that one alone, with
its own settings; prints their table, and with ``--out`` draws a line per setting with the 95 % intervals of the
accuracies.
"""

import argparse
import json
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hw1.report.canvas import colour, grid, save
from hw1.repro.graph import opened
from hw1.run.errors import InputError
from hw1.run.files import folder_hash
from hw1.run.lockfile import leaves, stages_of, within
from hw1.run.parameters.params import load
from hw1.run.processes.supervision import answer_signals, run_stage
from hw1.statistics.intervals import wilson_interval

HISTORIES = "models/history/finetune"
COLUMNS = ["experiment", "images"]  # before the parameter's and the settings'


def finished() -> list[str]:
    """Names of the finished experiments of all commits."""
    with opened() as repo:
        return sorted({name for names in repo.experiments.ls(all_commits=True).values() for name, _ in names})


def parameters_of(experiment: str | None = None) -> dict[str, Any]:
    """params.yaml of an experiment, or of the working tree, by dotted keys."""
    import dvc.api

    return dict(leaves(_read(dvc.api.params_show, "params.yaml", experiment)))


def text_of(path: str, experiment: str | None = None) -> str:
    """The text of a file of an experiment, or of the working tree."""
    import dvc.api

    return _read(dvc.api.read, path, experiment)


def _read(call: Callable[..., Any], path: str, experiment: str | None) -> Any:
    """Call a function of dvc.api; InputError for an experiment without the file, or a name of several experiments."""
    from dvc.exceptions import DvcException

    try:
        return call(path, rev=experiment)
    except (DvcException, OSError) as error:
        raise InputError(f"{path} of {experiment or 'the working tree'}: {error}") from None


def points(key: str) -> pd.DataFrame:
    """A row per experiment, by the parameter's value: its name, the number of images, the value, the accuracies.

    Raises:
        InputError: the parameter is no number, or nothing varies it.
    """
    parameters = parameters_of()
    value = parameters.get(key)
    if key not in parameters:
        raise InputError(f"{key}: not in params.yaml, or no single value")
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(f"{key}: is {value!r} in params.yaml; give a parameter that is a number, such as lr")
    settings = {path.split(".")[1] for path in parameters if path.startswith("settings.")}
    rows = [_row(key, value)]
    for name in finished():
        with suppress(InputError):  # one without these files, or whose name another commit has too
            theirs = parameters_of(name)
            new = key in theirs and theirs[key] not in [row[key] for row in rows]
            if new and theirs | {key: value} == parameters and scores_its_models(text_of("dvc.lock", name), settings):
                rows.append(_row(key, theirs[key], name))
    if len(rows) < 2:
        raise InputError(f"{key}: no finished experiment varies it alone; `dvc exp run -S {key}=...` makes one")
    return pd.DataFrame(rows).sort_values(key, ignore_index=True)


def _row(key: str, value: float, experiment: str | None = None) -> dict[str, Any]:
    accuracy = json.loads(text_of("metrics/p2.json", experiment))["accuracy"]
    images = len(text_of("plots/predictions/p2.csv", experiment).splitlines()) - 1
    return {"experiment": experiment or "working tree", "images": images, key: float(value), **accuracy}


def scores_its_models(lock: str, settings: Collection[str]) -> bool:
    """Tell by the histories in a dvc.lock if ``evaluate@p2`` scored the last trainings of the settings' stages.

    The numbers of an experiment that trained one setting alone are those of before.
    """
    stages = stages_of(lock.encode(), "dvc.lock")
    try:
        outputs = {path: md5 for key in settings for path, md5 in stages[f"finetune@{key}"].writes.items()}
        scored = stages["evaluate@p2"].reads[HISTORIES]
    except KeyError:
        return False
    histories = {path.removeprefix(f"{HISTORIES}/"): md5 for path, md5 in outputs.items() if within(path, HISTORIES)}
    return scored == folder_hash(histories)


def draw(rows: pd.DataFrame, key: str, path: Path) -> None:
    images = rows["images"]
    figure, (panel,) = grid(1, 1, (6.4, 4.2), f"Problem 2: accuracy over {key}, {images[0]} validation images")
    for index, setting in enumerate(rows.columns.drop([*COLUMNS, key])):
        shares = rows[setting]
        low, high = np.transpose([wilson_interval(share, count) for share, count in zip(shares, images, strict=True)])
        panel.errorbar(
            rows[key] * (1 + 0.02 * (index - 2)),  # shifted, or the bars would hide each other
            100 * shares, yerr=[100 * (shares - low), 100 * (high - shares)], color=colour(index), marker="o",
            capsize=2, elinewidth=0.8, label=f"setting {setting}",
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
    answer_signals("the same command begins anew")
    load()
    rows = points(args.key)
    print(rows.drop(columns="images").to_string(index=False, float_format=lambda number: f"{number:.4g}"))
    if args.out:
        draw(rows, args.key, args.out)


if __name__ == "__main__":
    run_stage(main)
