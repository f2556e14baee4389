"""From the predictions of several seeds to which differences hold over seeds and images, as tables.

A model's values are an array (seeds, images): 1 where the image is right, or a tile's part in the mean IoU. Two models
of one seed share their random start and the same images, so differences are taken cell by cell. ``holds`` is 0 or 1;
the other columns of a pair, after :mod:`hw1.statistics.intervals`:

- ``resolvable``: the smallest difference that so many seeds and images would see; ``seeds_needed`` (on these images)
  and ``images_needed`` (with these seeds): how many would see the observed one; infinite where none would;
- ``beats``, ``beats_low``, ``beats_high``: the probability that the first is above the second with a new seed;
- ``from_seeds``, ``from_images``: the shares of the variance of the difference; the rest comes from both together.
"""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from hw1.data.classes import ious, mean_of
from hw1.statistics.comparison import LEVEL, Row, hits, tile_counts
from hw1.statistics.intervals import Spread, holm, over_seeds, over_seeds_and_images, superiority
from hw1.statistics.published import MEASURE

UNITS = 20  # images or tiles; with fewer it errs more often as well (simulated: 15 % with 2, 8 % with 10 tiles)
FEW = 5  # seeds; with fewer the test over seeds and images errs more often than LEVEL (simulated: 10 % with 2)
SEEDS = ("problem", "model", "measure", "seeds", "mean", "std", "low", "high")
SEED_PAIRS = (
    *("problem", "first", "second", "measure", "seeds", "images", "difference"),
    *("seeds_low", "seeds_high", "p_seeds", "p_seeds_holm", "low", "high", "p", "p_holm", "holds"),
    *("resolvable", "seeds_needed", "images_needed", "beats", "beats_low", "beats_high", "from_seeds", "from_images"),
)
Values = Mapping[str, np.ndarray]  # of each model: (seeds, images)


def enough(seeds: int, images: int) -> bool:
    """Tell whether so many seeds and images or tiles allow a verdict."""
    return seeds >= FEW and images >= UNITS


def read_predictions(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the table of each problem."""
    return {problem: pd.read_csv(folder / f"{problem}.csv", dtype={"image": str}) for problem in MEASURE}


def values_of(problem: str, by_seed: Mapping[int, Mapping[str, pd.DataFrame]]) -> dict[str, np.ndarray]:
    """Each model's values from the predictions of each seed, seeds in their order."""
    of_one = _tile_values if problem == "p3" else hits
    tables = [of_one(by_seed[seed][problem]) for seed in sorted(by_seed)]
    return {model: np.stack([np.asarray(table[model], float) for table in tables]) for model in tables[0]}


def _tile_values(predictions: pd.DataFrame) -> dict[str, np.ndarray]:
    """A value per tile for each model; their mean is the mean IoU of the set, and they spread as it does over tiles.

    The mean IoU is a function of sums over tiles: a tile's value is it plus the tile's part of its first-order change
    (the delta method), n times.
    """
    models, numbers = tile_counts(predictions)
    values = {}
    for index, model in enumerate(models):
        counts = numbers[:, index, :, :3].astype(float)  # (tiles, 6, 3)
        of_set = ious(counts.sum(0))
        common, union = counts[..., 0], counts[..., 1] + counts[..., 2] - counts[..., 0]
        with np.errstate(invalid="ignore"):
            change = (common - of_set * union) / union.sum(0)  # (tiles, 6); no number for a class that is nowhere
        values[model] = mean_of(of_set) + len(counts) * mean_of(change)
    return values


def seed_table(problem: str, values: Values) -> list[Row]:
    """Mean, standard deviation and 95 % interval (Student's t) over seeds of each model's number."""
    rows = []
    for model, cells in values.items():
        numbers = cells.mean(1)
        low, high = over_seeds(numbers, step=1 / cells.shape[1]).interval
        entries = (problem, model, MEASURE[problem], len(cells), numbers.mean(), numbers.std(ddof=1), low, high)
        rows.append(dict(zip(SEEDS, entries, strict=True)))
    return rows


def seed_pairs(problem: str, values: Values) -> list[Row]:
    """Every pair of models over seeds, the images held fixed, and over seeds and images together.

    A difference holds where Holm's correction for the problem's pairs leaves the p-value over both below LEVEL, from
    FEW seeds and UNITS images or tiles on.
    """
    rows: list[Row] = []
    for first, second in combinations(values, 2):
        cells = values[first] - values[second]
        step, spread = 1 / cells.shape[1], Spread.of(cells)
        fixed, crossed = over_seeds(cells.mean(1), step), over_seeds_and_images(cells)
        beats, beats_low, beats_high = superiority(cells.mean(1), step)
        rows.append(
            {"problem": problem, "first": first, "second": second, "measure": MEASURE[problem]}
            | {"seeds": len(cells), "images": cells.shape[1], "difference": crossed.value}
            | {"seeds_low": fixed.interval[0], "seeds_high": fixed.interval[1], "p_seeds": fixed.p}
            | {"low": crossed.interval[0], "high": crossed.interval[1], "p": crossed.p}
            | {"resolvable": spread.resolvable(*cells.shape), "seeds_needed": spread.seeds_needed(crossed.value)}
            | {"images_needed": spread.images_needed(crossed.value)}
            | {"beats": beats, "beats_low": beats_low, "beats_high": beats_high}
            | dict(zip(("from_seeds", "from_images"), spread.shares, strict=True))
        )
    for name in ("p_seeds", "p"):
        for row, p in zip(rows, holm([row[name] for row in rows]), strict=True):
            row[f"{name}_holm"] = p
    return [row | {"holds": int(row["p_holm"] < LEVEL and enough(row["seeds"], row["images"]))} for row in rows]
