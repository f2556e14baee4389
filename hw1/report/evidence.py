"""The statistics behind the page's sentences: intervals, pairs of models on the same images, seeds.

Read from the tables of stage ``compare``; for the report's own figures, of which only shares are known, computed
here. Shares are fractions 0..1, differences in percentage points.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from hw1.report import published
from hw1.statistics.comparison import FEW, LEVEL
from hw1.statistics.intervals import holm, two_proportion_p


@dataclass(frozen=True)
class Pair:
    """Two models compared: ``first`` minus ``second`` in points, its 95 % interval where the images are known, the
    Holm-adjusted p-value, and how many images (P3: tiles) it comes from.
    """

    first: str
    second: str
    points: float
    p: float
    images: int
    interval: tuple[float, float] | None = None
    unit: str = "images"

    @property
    def resolved(self) -> bool:
        return self.p < LEVEL

    @property
    def verdict(self) -> str:
        return f"{'resolved' if self.resolved else 'not resolved'} by {self.images:,} {self.unit}"

    def turned(self, first: str) -> "Pair":
        """The same with ``first`` first."""
        if first == self.first:
            return self
        interval = None if self.interval is None else (-self.interval[1], -self.interval[0])
        return replace(self, first=self.second, second=self.first, points=-self.points, interval=interval)


@dataclass(frozen=True)
class SeedPair(Pair):
    """The same over ``seeds`` seeds, interval and p-value over seeds and images together; ``resolved_by_seeds`` alone,
    the images held fixed.
    """

    seeds: int = 0
    resolved_by_seeds: bool = False

    @property
    def resolved(self) -> bool:
        return self.p < LEVEL and self.seeds >= FEW

    @property
    def verdict(self) -> str:
        if self.seeds < FEW:
            return f"{self.seeds} seeds are too few to judge"
        return f"{'holds' if self.resolved else 'is not resolved'} over {self.seeds} seeds and {self.images:,} images"


Pairs = Mapping[tuple[str, str], Pair]


@dataclass(frozen=True)
class Statistics:
    """``intervals`` by problem, model and measure; ``pairs`` by problem and measure, then by models; ``seeds`` the rows
    of the table of settings over seeds, ``seed_pairs`` their pairs, both empty where no seeds are kept.
    """

    intervals: Mapping[tuple[str, str, str], tuple[float, float]]
    pairs: Mapping[tuple[str, str], Pairs]
    seeds: list[dict[str, Any]]
    seed_pairs: Pairs

    @classmethod
    def read(cls, folder: Path) -> "Statistics":
        # A setting may be called NA: only empty cells are no numbers.
        tables = {
            name: pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=[""])
            for name in ("intervals", "pairs", "seeds", "seed_pairs")
        }
        intervals = {
            (row.problem, row.model, row.measure): (row.low, row.high) for row in tables["intervals"].itertuples()
        }
        pairs: dict[tuple[str, str], dict[tuple[str, str], Pair]] = {}
        for row in tables["pairs"].itertuples():
            p, unit = (row.p_bootstrap_holm, "tiles") if row.problem == "p3" else (row.p_mcnemar_holm, "images")
            pair = Pair(row.first, row.second, *_points(row, p), unit)
            pairs.setdefault((row.problem, row.measure), {})[row.first, row.second] = pair
        seed_pairs = {
            (row.first, row.second): SeedPair(
                *(row.first, row.second, *_points(row, row.p_holm)),
                seeds=row.seeds,
                resolved_by_seeds=row.p_seeds_holm < LEVEL,
            )
            for row in tables["seed_pairs"].itertuples()
        }
        return cls(intervals, pairs, tables["seeds"].to_dict("records"), seed_pairs)


def _points(row: Any, p: float) -> tuple[float, float, int, tuple[float, float]]:
    return 100 * row.difference, p, row.images, (100 * row.low, 100 * row.high)


def compare_published(accuracy: Mapping[str, float], images: int) -> Pairs:
    """Every pair of accuracies (percent) of which only the numbers are known, as if from different images."""
    pairs = list(combinations(accuracy, 2))
    p_values = [two_proportion_p(accuracy[first] / 100, accuracy[second] / 100, images) for first, second in pairs]
    return {
        (first, second): Pair(first, second, accuracy[first] - accuracy[second], p, images)
        for (first, second), p in zip(pairs, holm(p_values), strict=True)
    }


def published_settings() -> Pairs:
    """The report's own five settings, on its validation images."""
    return compare_published(published.P2_ACCURACY, published.COURSE_DATA["office"]["validation"])


def between(pairs: Pairs, first: str, second: str) -> Pair | None:
    """The pair of two models, whichever is first in the table."""
    pair = pairs.get((first, second)) or pairs.get((second, first))
    return None if pair is None else pair.turned(first)
