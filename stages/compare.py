"""Intervals of every number, which differences between models hold, and the report's claims, each tried."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hw1.run.arguments import stage_arguments
from hw1.run.files import whole_file, whole_folder
from hw1.run.parameters.params import load
from hw1.run.processes.supervision import run_stage
from hw1.statistics import claims, comparison, replications
from hw1.statistics.comparison import to_frame
from hw1.statistics.published import MEASURE
from hw1.statistics.replications import read_predictions


def main() -> None:
    args = stage_arguments(
        __doc__,
        predictions="the folder of p1.csv, p2.csv, p3.csv",
        seeds="the folder of the same of other seeds, {seed}/p1.csv and so on",
        evaluation="the folder of the evaluations, of which the points and the tiles' pixels over the epochs are read",
        out="the folder of tables to write",
        claims="the JSON of verdicts to write",
    )
    predictions, params = read_predictions(args.predictions), load()
    tables = of_one_training(predictions) | of_seeds(args.seeds, args.predictions, params.seed)
    projections = pd.read_csv(args.evaluation / "p1/projections.csv")
    epochs = pd.read_csv(args.evaluation / "p3/epochs.csv", dtype={"image": str})
    settings = {key: setting.meaning for key, setting in params.settings.items()}
    tried = claims.tried(tables["pairs"], tables["seed_pairs"], projections, epochs, settings)
    tables["claims"] = to_frame(tried, claims.COLUMNS)
    with whole_folder(args.out) as out, whole_file(args.claims) as verdicts:
        for name, table in tables.items():
            table.to_csv(out / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
        verdicts.write_text(json.dumps(claims.verdicts(tried), indent=2) + "\n")


def of_one_training(predictions: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    intervals, pairs = [], []
    for problem in ("p1", "p2"):
        intervals += comparison.accuracy_intervals(problem, predictions[problem])
        pairs += comparison.accuracy_pairs(problem, predictions[problem])
    tiles = comparison.ious_of(predictions["p3"])
    intervals += comparison.iou_intervals(tiles)
    pairs += comparison.iou_pairs(tiles)
    return {
        "intervals": to_frame(intervals, comparison.INTERVALS),
        "pairs": to_frame(pairs, comparison.PAIRS),
    }


def of_seeds(folder: Path, current: Path, seed: int) -> dict[str, pd.DataFrame]:
    """The tables over seeds, without rows where none are kept."""
    kept, rows, pairs = seeds_of(folder, current, seed), [], []
    for problem in MEASURE if kept else ():
        values = replications.values_of(problem, kept)
        rows += replications.seed_table(problem, values)
        pairs += replications.seed_pairs(problem, values)
    return {
        "seeds": to_frame(rows, replications.SEEDS),
        "seed_pairs": to_frame(pairs, replications.SEED_PAIRS),
    }


def seeds_of(folder: Path, current: Path, seed: int) -> dict[int, dict[str, pd.DataFrame]]:
    """The predictions of every seed kept, if they belong to what is here: then the current seed's are among them."""
    kept = {int(path.name): path for path in folder.iterdir() if path.name.isdecimal()}
    if len(kept) < 2:
        return {}
    if seed not in kept or not all(_same(kept[seed] / f"{name}.csv", current / f"{name}.csv") for name in MEASURE):
        print(
            f"{folder}: the seeds kept there are not of these data, parameters, code and numerics, and are left out; "
            "`python -m hw1.experiments.seeds` makes them anew",
            file=sys.stderr,
        )
        return {}
    return {number: read_predictions(path) for number, path in kept.items()}


def _same(kept: Path, current: Path) -> bool:
    return kept.is_file() and kept.read_bytes() == current.read_bytes()


if __name__ == "__main__":
    run_stage(main)
