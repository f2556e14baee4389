"""Contestant the benchmarks and write their tables: ``python -m benchmarks [names]``."""

import argparse
import os
from pathlib import Path

import torch

from benchmarks.augmentation import augmentations
from benchmarks.byol import epoch
from benchmarks.dag import dag
from benchmarks.equality import equality
from benchmarks.growth import growth
from benchmarks.larger import larger
from benchmarks.machine import describe
from benchmarks.numerics import numerics
from benchmarks.overhead import overhead
from benchmarks.preparation import preparation
from benchmarks.probing import probing
from benchmarks.scaling import scaling
from benchmarks.scoring import scoring
from benchmarks.states import states
from benchmarks.tables import Table, write
from benchmarks.tracking import tracking
from benchmarks.training import epochs

BENCHMARKS = {
    "byol": epoch,
    "dag": dag,
    "equality": equality,
    "scoring": scoring,
    "preparation": preparation,
    "augmentation": augmentations,
    "overhead": overhead,
    "probing": probing,
    "growth": growth,
    "numerics": numerics,
    "larger": larger,
    "scaling": scaling,
    "states": states,
    "tracking": tracking,
    "training": epochs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; all but dag without any")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds, of which the median counts")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results", "gpu" if torch.cuda.is_available() else "cpu")
    )
    args = parser.parse_args()
    for name in args.names:
        if name not in BENCHMARKS:
            parser.error(f"{name}: no such benchmark, there are: {', '.join(BENCHMARKS)}")
    os.environ["HW1_TRACKING"] = "off"
    tables: list[Table] = []
    for name in args.names or [name for name in BENCHMARKS if name != "dag"]:  # which needs a run's record
        measured = BENCHMARKS[name](args.rounds)
        tables += measured
        write(tables, describe(), args.out)
        print("\n".join(table.markdown() for table in measured), flush=True)


if __name__ == "__main__":
    main()
