"""Intervals of every number, and which differences between models hold, from each image's prediction."""

import sys
from pathlib import Path

import pandas as pd

from hw1.run.arguments import stage_arguments
from hw1.run.files import whole_folder
from hw1.run.params import load
from hw1.run.supervision import run_stage
from hw1.statistics import comparison


def main() -> None:
    args = stage_arguments(
        __doc__,
        predictions="the folder of p1.csv, p2.csv, p3.csv",
        seeds="the folder of p2.csv's of other seeds, {seed}.csv",
        out="the folder of tables to write",
    )
    params = load()
    p1, p2, p3 = (
        pd.read_csv(args.predictions / f"{problem}.csv", dtype={"image": str}) for problem in ("p1", "p2", "p3")
    )
    seeds = seeds_of(args.seeds, args.predictions / "p2.csv", params.seed)
    labelled = (("p1", p1), ("p2", p2))
    intervals = [row for problem, table in labelled for row in comparison.accuracy_intervals(problem, table)]
    pairs = [row for problem, table in labelled for row in comparison.accuracy_pairs(problem, table)]
    tiles = comparison.ious_of(p3)
    tables = {
        "intervals": (intervals + comparison.iou_intervals(tiles), comparison.INTERVALS),
        "pairs": (pairs + comparison.iou_pairs(tiles), comparison.PAIRS),
        "seeds": (comparison.seed_table(seeds) if seeds else [], comparison.SEEDS),
        "seed_pairs": (comparison.seed_pairs(seeds) if seeds else [], comparison.SEED_PAIRS),
    }
    with whole_folder(args.out) as out:
        for name, (rows, columns) in tables.items():
            table = comparison.to_frame(rows, columns)
            table.to_csv(out / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")


def seeds_of(folder: Path, current: Path, seed: int) -> dict[int, pd.DataFrame]:
    """The predictions of every seed kept, if they belong to what is here: then the current seed's are among them."""
    kept = {int(path.stem): path for path in folder.glob("*.csv") if path.stem.isdecimal()}
    if len(kept) < 2:
        return {}
    if seed not in kept or kept[seed].read_bytes() != current.read_bytes():
        print(
            f"{folder}: the seeds kept there are not of these data, parameters and code, and are left out; "
            "`python -m hw1.experiments.seeds` makes them anew",
            file=sys.stderr,
        )
        return {}
    return {seed: pd.read_csv(path, dtype={"image": str}) for seed, path in kept.items()}


if __name__ == "__main__":
    run_stage(main)
