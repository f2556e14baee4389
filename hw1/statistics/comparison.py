"""From each image's prediction to intervals and to which differences are resolved, of one training of each model.

Nothing here trains or predicts; a table is a list of rows with the same keys. Shares are fractions 0..1, ``resolved``
is 0 or 1, ``resolvable`` the smallest difference that so many images would see, and ``images_needed`` how many would
see the observed one (:mod:`hw1.statistics.intervals`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from hw1.data.classes import LAND_COVER, ious, mean_of
from hw1.statistics.intervals import (
    bootstrap,
    holm,
    images_needed,
    mcnemar_p,
    percentile_interval,
    resolvable,
    swap_p,
    wilson_interval,
)

LEVEL = 0.05
MAJORITY = "commonest class"  # named for every pixel, in place of a model
MEASURES = ("miou", *(f"iou.{name}" for name in LAND_COVER[:-1]))  # of problem 3
Row = dict[str, Any]

INTERVALS = ("problem", "model", "measure", "value", "low", "high", "images", "method")
PAIRS = (
    *("problem", "first", "second", "measure", "difference", "low", "high", "images", "only_first", "only_second"),
    *("p", "p_holm", "resolved", "resolvable", "images_needed"),
)


def hits(predictions: pd.DataFrame) -> pd.DataFrame:
    """Images that each model got right: a column of 0 and 1 for each."""
    return predictions.drop(columns=["image", "label"]).eq(predictions["label"], axis=0).astype(int)


def accuracy_intervals(problem: str, predictions: pd.DataFrame) -> list[Row]:
    """Wilson's 95 % interval of each model's accuracy."""
    rows = []
    for model, right in hits(predictions).items():
        entries = (right.mean(), *wilson_interval(right.mean(), len(right)), len(right), "Wilson")
        rows.append(dict(zip(INTERVALS, (problem, model, "accuracy", *entries), strict=True)))
    return rows


def accuracy_pairs(problem: str, predictions: pd.DataFrame) -> list[Row]:
    """Every pair of models on the same images: the p-value of McNemar's test, the interval of the paired bootstrap.

    A difference is resolved where Holm's correction for all pairs leaves the p-value below LEVEL.
    """
    right = hits(predictions)
    drawn = pd.DataFrame(bootstrap(right.to_numpy(), lambda sums: sums / len(right)), columns=right.columns)
    rows = []
    for first, second in combinations(right.columns, 2):
        one, two = right[first], right[second]
        only = int((one > two).sum()), int((one < two).sum())
        differences = (drawn[first] - drawn[second]).to_numpy()
        rows.append(
            {"problem": problem, "first": first, "second": second, "measure": "accuracy"}
            | _difference(one.mean() - two.mean(), differences, len(right))
            | {"only_first": only[0], "only_second": only[1], "p": mcnemar_p(*only)}
        )
    return _corrected(rows)


@dataclass(frozen=True)
class Ious:
    """Mean IoU and the six IoUs of each model, and of the commonest class named everywhere: ``values`` (models, 7) of
    the set and ``drawn`` (RESAMPLES, models, 7) of draws of as many tiles, the same ones for all; ``counts`` (tiles,
    models, 6, 3) of pixels: in both, in the truth, in the prediction.
    """

    models: list[str]
    counts: np.ndarray
    values: np.ndarray
    drawn: np.ndarray


def ious_of(predictions: pd.DataFrame) -> Ious:
    """Compute the IoUs from the table of each tile's pixels by class."""
    models, table = tile_counts(predictions)
    counts = np.concatenate([table[..., :3], _of_majority(table[:, :1])], axis=1)  # (tiles, models, 6, 3)
    drawn = bootstrap(counts, lambda sums: seven(sums).reshape(len(sums), -1))
    values = seven(counts.sum(0))
    return Ious([*models, MAJORITY], counts, values, drawn.reshape(len(drawn), *values.shape))


def seven(sums: np.ndarray) -> np.ndarray:
    """Mean IoU and the six IoUs (..., 7) of counts (..., 6, 3)."""
    values = ious(sums)
    return np.concatenate([mean_of(values)[..., None], values], -1)


def tile_counts(predictions: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """The models, and the table's numbers (tiles, models, 6, 4): both, truth, predicted, pixels."""
    keyed = predictions.astype({"image": str}).set_index(["image", "model", "class"])
    tiles, models = (list(keyed.index.unique(name)) for name in ("image", "model"))
    order = pd.MultiIndex.from_product([tiles, models, LAND_COVER[:-1]])
    numbers = keyed.loc[order, ["both", "truth", "predicted", "pixels"]].to_numpy()
    return models, numbers.reshape(len(tiles), len(models), len(LAND_COVER) - 1, 4)


def _of_majority(table: np.ndarray) -> np.ndarray:
    """Counts of naming the commonest known class everywhere, from those of any model: (tiles, 1, 6, 4) -> (..., 3)."""
    counts = np.zeros((*table.shape[:-1], 3), table.dtype)
    counts[..., 1] = table[..., 1]
    commonest = table[..., 1].sum((0, 1)).argmax()
    counts[..., commonest, 0] = table[..., commonest, 1]
    counts[..., commonest, 2] = table[..., commonest, 3]
    return counts


def iou_intervals(tiles: Ious) -> list[Row]:
    """Bootstrap intervals of each model's mean IoU and IoUs: tiles are drawn, their pixels summed, then divided."""
    rows = []
    for index, model in enumerate(tiles.models[:-1]):
        for place, measure in enumerate(MEASURES):
            value = tiles.values[index, place]
            if not np.isnan(value):
                bounds = percentile_interval(tiles.drawn[:, index, place])
                entries = ("p3", model, measure, value, *bounds, len(tiles.counts), "bootstrap over tiles")
                rows.append(dict(zip(INTERVALS, entries, strict=True)))
    return rows


def iou_pairs(tiles: Ious) -> list[Row]:
    """Every pair of segmenters, and each with the commonest class named everywhere, by mean IoU; the segmenters by
    each class's IoU as well: the p-value by swapping the two tile by tile, the interval of the paired bootstrap.

    Holm's correction is for all pairs by mean IoU, and for all pairs and classes together.
    """
    by_mean, by_class = [], []
    for first, second in combinations(range(len(tiles.models)), 2):
        names = tiles.models[first], tiles.models[second]
        p_values = swap_p(tiles.counts[:, [first, second]], seven)
        for place, measure in enumerate(MEASURES):
            difference = tiles.values[first, place] - tiles.values[second, place]
            if measure == "miou" or not (np.isnan(difference) or MAJORITY in names):
                drawn = tiles.drawn[:, first, place] - tiles.drawn[:, second, place]
                (by_mean if measure == "miou" else by_class).append(
                    {"problem": "p3", "first": names[0], "second": names[1], "measure": measure}
                    | _difference(difference, drawn, len(tiles.counts))
                    | {"p": float(p_values[place])}
                )
    return _corrected(by_mean) + _corrected(by_class)


def _difference(difference: float, drawn: np.ndarray, images: int) -> Row:
    """A difference with its interval and its power, from its bootstrap values (R,)."""
    low, high = percentile_interval(drawn)
    error = float(np.nanstd(drawn))
    return {
        "difference": difference,
        "low": low,
        "high": high,
        "images": images,
        "resolvable": resolvable(error),
        "images_needed": images_needed(difference, error * images**0.5),
    }


def _corrected(rows: list[Row]) -> list[Row]:
    """The rows with Holm's p-values, which decide what is resolved."""
    corrected = holm([row["p"] for row in rows])
    return [row | {"p_holm": p, "resolved": int(p < LEVEL)} for row, p in zip(rows, corrected, strict=True)]


def to_frame(rows: Sequence[Row], columns: Sequence[str]) -> pd.DataFrame:
    """A table with these columns in this order, whatever the rows lack left empty."""
    return pd.DataFrame(list(rows), columns=list(columns))
