"""The statistics behind the page's sentences: intervals, pairs of models on the same images, seeds.

Read from the tables of stage ``compare``; for the report's own figures, of which only shares are known, computed
here. Shares are fractions 0..1, differences in percentage points.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hw1.statistics import published
from hw1.statistics.claims import SEEN, UNSEEN, printed_p_values
from hw1.statistics.comparison import LEVEL
from hw1.statistics.replications import enough


@dataclass(frozen=True)
class Pair:
    """Two models compared: ``first`` minus ``second`` in points, its 95 % interval where the images are known, the
    Holm-adjusted p-value, and how many images (P3: tiles) it comes from; the smallest difference that these would see,
    in points, and how many would see this one (:mod:`hw1.statistics.power`).
    """

    first: str
    second: str
    points: float
    p: float
    images: int
    interval: tuple[float, float] | None = None
    unit: str = "images"
    resolvable: float = math.nan
    images_needed: float = math.nan
    printed: bool = False  # the report's own figures

    @property
    def resolved(self) -> bool:
        return self.p < LEVEL

    @property
    def verdict(self) -> str:
        if self.printed:
            return f"{'resolved' if self.resolved else 'not resolved'} by its {self.images:,} {self.unit}"
        return f"{SEEN if self.resolved else UNSEEN} on {self.images:,} {self.unit}"

    def turned(self, first: str) -> "Pair":
        """The same with ``first`` first."""
        if first == self.first:
            return self
        interval = None if self.interval is None else (-self.interval[1], -self.interval[0])
        return self._turned(interval)

    def _turned(self, interval: tuple[float, float] | None) -> "Pair":
        return replace(self, first=self.second, second=self.first, points=-self.points, interval=interval)


@dataclass(frozen=True)
class SeedPair(Pair):
    """The same over ``seeds`` seeds, interval and p-value over seeds and images together; ``resolved_by_seeds`` alone,
    the images held fixed; the rest as in :mod:`hw1.statistics.replications`.
    """

    seeds: int = 0
    resolved_by_seeds: bool = False
    seeds_needed: float = math.nan
    beats: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    from_seeds: float = math.nan
    from_images: float = math.nan

    @property
    def resolved(self) -> bool:
        return self.p < LEVEL and self.judged

    @property
    def judged(self) -> bool:
        """Whether there are enough seeds and images for a verdict."""
        return enough(self.seeds, self.images)

    @property
    def verdict(self) -> str:
        if not self.judged:
            return f"{self.seeds} seeds and {self.images:,} {self.unit} are too few to judge"
        verdict = "holds" if self.resolved else "is not resolved"
        return f"{verdict} over {self.seeds} seeds and {self.images:,} {self.unit}"

    def _turned(self, interval: tuple[float, float] | None) -> "Pair":
        above, low, high = self.beats
        return replace(super()._turned(interval), beats=(1 - above, 1 - high, 1 - low))


Pairs = Mapping[tuple[str, str], Pair]


@dataclass(frozen=True)
class Statistics:
    """``intervals`` by problem, model and measure; ``pairs`` by problem and measure, then by models; ``seeds`` the rows
    of the table of models over seeds, ``seed_pairs`` their pairs by problem, both empty where no seeds are kept;
    ``claims`` the rows of the report's claims.
    """

    intervals: Mapping[tuple[str, str, str], tuple[float, float]]
    pairs: Mapping[tuple[str, str], Pairs]
    seeds: list[dict[str, Any]]
    seed_pairs: Mapping[str, Pairs]
    claims: list[dict[str, Any]]

    def of_settings(self) -> tuple[Pairs, bool]:
        """The pairs of problem 2's settings that verdicts come from, and whether they are over seeds: where there are
        enough, else of one training each.
        """
        over = self.seed_pairs.get("p2", {})
        if over and all(pair.judged for pair in over.values()):
            return over, True
        return self.pairs.get(("p2", "accuracy"), {}), False

    @classmethod
    def read(cls, folder: Path) -> "Statistics":
        # A setting may be called NA: only empty cells are no numbers.
        tables = {
            name: pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=[""])
            for name in ("intervals", "pairs", "seeds", "seed_pairs", "claims")
        }
        intervals = {
            (row.problem, row.model, row.measure): (row.low, row.high) for row in tables["intervals"].itertuples()
        }
        pairs: dict[tuple[str, str], dict[tuple[str, str], Pair]] = {}
        for row in tables["pairs"].itertuples():
            pairs.setdefault((row.problem, row.measure), {})[row.first, row.second] = Pair(**_common(row, row.p_holm))
        seed_pairs: dict[str, dict[tuple[str, str], SeedPair]] = {}
        for row in tables["seed_pairs"].itertuples():
            seed_pairs.setdefault(row.problem, {})[row.first, row.second] = SeedPair(
                **_common(row, row.p_holm),
                seeds=row.seeds,
                resolved_by_seeds=row.p_seeds_holm < LEVEL,
                seeds_needed=row.seeds_needed,
                beats=(row.beats, row.beats_low, row.beats_high),
                from_seeds=row.from_seeds,
                from_images=row.from_images,
            )
        tables["claims"] = tables["claims"].fillna("")  # what was not tried has no figures
        seeds, claims = (tables[name].to_dict("records") for name in ("seeds", "claims"))
        return cls(intervals, pairs, seeds, seed_pairs, claims)


def _common(row: Any, p: float) -> dict[str, Any]:
    """What a pair has in both tables, differences in points."""
    return {
        "first": row.first,
        "second": row.second,
        "points": 100 * row.difference,
        "p": p,
        "images": row.images,
        "interval": (100 * row.low, 100 * row.high),
        "unit": "tiles" if row.problem == "p3" else "images",
        "resolvable": 100 * row.resolvable,
        "images_needed": row.images_needed,
    }


def compare_published(accuracy: Mapping[str, float], images: int) -> Pairs:
    """Every pair of accuracies (percent) of which only the numbers are known, as if from different images."""
    return {
        (first, second): Pair(first, second, accuracy[first] - accuracy[second], p, images, printed=True)
        for (first, second), p in printed_p_values(accuracy, images).items()
    }


def published_settings() -> Pairs:
    """The report's own five settings, on its validation images."""
    return compare_published(published.P2_ACCURACY, published.COURSE_DATA["office"]["validation"])


def between(pairs: Pairs, first: str, second: str) -> Pair | None:
    """The pair of two models, whichever is first in the table."""
    pair = pairs.get((first, second)) or pairs.get((second, first))
    return None if pair is None else pair.turned(first)
