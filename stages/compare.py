"""Intervals of every number, which differences between models hold, and the report's claims, each tried."""

import filecmp
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from hw1.run.files import whole_file, whole_folder
from hw1.run.parameters.params import load
from hw1.run.processes.supervision import run_stage, stage_arguments
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
    params = load()
    tables = of_one_training(read_predictions(args.predictions))
    tables |= of_seeds(seeds_of(args.seeds, args.predictions, params.seed))
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
    return {"intervals": to_frame(intervals, comparison.INTERVALS), "pairs": to_frame(pairs, comparison.PAIRS)}


def of_seeds(by_seed: Mapping[int, Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """The tables over seeds, without rows where there are none."""
    rows, pairs = [], []
    for problem in MEASURE if by_seed else ():
        values = replications.values_of(problem, by_seed)
        rows += replications.seed_table(problem, values)
        pairs += replications.seed_pairs(problem, values)
    return {"seeds": to_frame(rows, replications.SEEDS), "seed_pairs": to_frame(pairs, replications.SEED_PAIRS)}


def seeds_of(folder: Path, current: Path, seed: int) -> dict[int, dict[str, pd.DataFrame]]:
    """The predictions of every seed kept, if the current seed's are among them as they are now."""
    kept = {int(path.name): path for path in folder.iterdir() if path.name.isdecimal()}
    if len(kept) < 2:
        return {}
    tables = [f"{problem}.csv" for problem in MEASURE]
    if seed not in kept or filecmp.cmpfiles(kept[seed], current, tables, shallow=False)[0] != tables:
        print(
            f"{folder}: the seeds kept there are not of these data, parameters, code and numerics, and are left out; "
            "`python -m hw1.experiments.seeds` makes them anew",
            file=sys.stderr,
        )
        return {}
    return {number: read_predictions(path) for number, path in kept.items()}


if __name__ == "__main__":
    run_stage(main)
