"""Reader of the tables of stage ``compare``: intervals, pairs of models on the same images, seeds, claims.

The report's own figures, of which only shares are known, are compared here. Shares are fractions 0..1, differences
between models percentage points.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hw1.run.errors import InputError
from hw1.statistics import published
from hw1.statistics.claims import SEEN, UNSEEN, printed_p_values
from hw1.statistics.comparison import LEVEL
from hw1.statistics.replications import enough


@dataclass(frozen=True)
class Pair:
    """Two models compared: ``first`` minus ``second`` in points, the Holm-adjusted p-value, the number of images (P3:
    tiles), the 95 % interval where the images are known; over so many ``seeds``, 1 for one training each; the smallest
    difference that such images would see, in points, and how many would see this one; ``printed`` in the report.
    """

    first: str
    second: str
    points: float
    p: float
    images: int
    interval: tuple[float, float] | None = None
    unit: str = "images"
    seeds: int = 1
    resolvable: float = math.nan
    images_needed: float = math.nan
    printed: bool = False

    @property
    def judged(self) -> bool:
        """Tell whether there are enough seeds and images for a verdict over seeds."""
        return enough(self.seeds, self.images)

    @property
    def resolved(self) -> bool:
        return self.p < LEVEL and (self.seeds == 1 or self.judged)

    @property
    def verdict(self) -> str:
        on_images = f"{self.images:,} {self.unit}"
        if self.printed:
            return f"{'resolved' if self.resolved else 'not resolved'} by its {on_images}"
        if self.seeds == 1:
            return f"{SEEN if self.resolved else UNSEEN} on {on_images}"
        if not self.judged:
            return f"{self.seeds} seeds and {on_images} are too few to judge"
        return f"{'holds' if self.resolved else 'is not resolved'} over {self.seeds} seeds and {on_images}"

    def turned(self, first: str) -> "Pair":
        """The same with ``first`` first."""
        if first == self.first:
            return self
        interval = None if self.interval is None else (-self.interval[1], -self.interval[0])
        return replace(self, first=self.second, second=self.first, points=-self.points, interval=interval)


Pairs = Mapping[tuple[str, str], Pair]
Intervals = Mapping[tuple[str, str, str], tuple[float, float]]  # 95 %, by problem, model and measure


@dataclass(frozen=True)
class Statistics:
    """``intervals``; ``pairs`` by problem and measure, ``seed_pairs`` by problem, then by models; the rows of the
    tables ``seeds`` (of models), ``seed_rows`` (of pairs) and ``claims``. Empty over seeds where none are kept.
    """

    intervals: Intervals
    pairs: Mapping[tuple[str, str], Pairs]
    seed_pairs: Mapping[str, Pairs]
    seeds: list[dict[str, Any]]
    seed_rows: list[dict[str, Any]]
    claims: list[dict[str, Any]]

    def of_settings(self) -> tuple[Pairs, bool]:
        """The pairs of problem 2's settings that verdicts come from, and whether they are over seeds: where there are
        enough, else of one training each.
        """
        over_seeds = self.seed_pairs.get("p2", {})
        if over_seeds and all(pair.judged for pair in over_seeds.values()):
            return over_seeds, True
        return self.pairs.get(("p2", "accuracy"), {}), False

    @classmethod
    def read(cls, folder: Path) -> "Statistics":
        pairs, seed_pairs = read_table(folder, "pairs"), read_table(folder, "seed_pairs")
        return cls(
            read_intervals(folder),
            {key: _pairs(table) for key, table in pairs.groupby(["problem", "measure"], sort=False)},
            {problem: _pairs(table) for problem, table in seed_pairs.groupby("problem", sort=False)},
            read_table(folder, "seeds").to_dict("records"),
            seed_pairs.to_dict("records"),
            read_table(folder, "claims").fillna("").to_dict("records"),  # what was not tried has no figures
        )


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read one of the tables; InputError if it is not there."""
    try:
        # A setting may be called NA: only empty cells are no numbers.
        return pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=[""])
    except OSError:
        raise InputError(f"{folder}/{name}.csv: not there; run `dvc repro` first") from None


def read_intervals(folder: Path) -> Intervals:
    rows = read_table(folder, "intervals").itertuples()
    return {(row.problem, row.model, row.measure): (row.low, row.high) for row in rows}


def _pairs(table: pd.DataFrame) -> Pairs:
    return {
        (row.first, row.second): Pair(
            *(row.first, row.second, 100 * row.difference, row.p_holm, row.images),
            interval=(100 * row.low, 100 * row.high),
            unit="tiles" if row.problem == "p3" else "images",
            seeds=getattr(row, "seeds", 1),
            resolvable=100 * row.resolvable,
            images_needed=row.images_needed,
        )
        for row in table.itertuples()
    }


def compare_published(problem: str) -> Pairs:
    """Every pair of the report's accuracies in problem 1 or 2, as if from different images: only shares are known."""
    accuracy, part = published.FIGURES[problem], {"p1": "p1", "p2": "office"}[problem]
    images = published.COURSE_DATA[part]["validation"]
    return {
        (first, second): Pair(first, second, accuracy[first] - accuracy[second], p, images, printed=True)
        for (first, second), p in printed_p_values(accuracy, images).items()
    }


def between(pairs: Pairs, first: str, second: str) -> Pair | None:
    """The pair of two models, whichever is first in the table."""
    pair = pairs.get((first, second)) or pairs.get((second, first))
    return None if pair is None else pair.turned(first)
