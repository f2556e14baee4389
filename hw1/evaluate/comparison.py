"""From each image's prediction to intervals and to which differences hold: tables of the statistics.

Nothing here trains or predicts; a table is a list of rows with the same keys. Shares are fractions 0..1, and
``resolved`` and ``holds`` are 0 or 1.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from hw1.data.classes import LAND_COVER
from hw1.evaluate.intervals import (
    Mean,
    bootstrap,
    bootstrap_p,
    holm,
    mcnemar_p,
    over_seeds,
    over_seeds_and_images,
    percentile_interval,
    wilson_interval,
)

LEVEL = 0.05
Row = dict[str, Any]

INTERVALS = ("problem", "model", "measure", "value", "low", "high", "images", "method")
PAIRS = (
    *("problem", "first", "second", "measure", "difference", "low", "high", "images", "only_first", "only_second"),
    *("p_mcnemar", "p_mcnemar_holm", "p_bootstrap", "p_bootstrap_holm", "resolved"),
)
SEEDS = ("setting", "seeds", "mean", "std", "low", "high")
SEED_PAIRS = (
    *("first", "second", "seeds", "images", "difference", "seeds_low", "seeds_high", "p_seeds", "p_seeds_holm"),
    *("low", "high", "p", "p_holm", "holds"),
)


# -- one training of each model


def hits(predictions: pd.DataFrame) -> pd.DataFrame:
    """Which images each model got right: a column of 0 and 1 for each."""
    models = [column for column in predictions.columns if column not in ("image", "label")]
    return predictions[models].eq(predictions["label"], axis=0).astype(int)


def accuracy_intervals(problem: str, predictions: pd.DataFrame) -> list[Row]:
    """Wilson's 95 % interval of each model's accuracy."""
    rows = []
    for model, right in hits(predictions).items():
        low, high = wilson_interval(right.mean(), len(right))
        rows.append(_interval(problem, model, "accuracy", right.mean(), (low, high), len(right), "Wilson"))
    return rows


def accuracy_pairs(problem: str, predictions: pd.DataFrame) -> list[Row]:
    """Every pair of models on the same images: McNemar's test, and the bootstrap over images, paired.

    A difference is resolved where Holm's correction for all pairs leaves McNemar's p-value below LEVEL.
    """
    right = hits(predictions)
    drawn = bootstrap(right.to_numpy(), lambda sums: sums / len(right))
    rows = []
    for first, second in combinations(right.columns, 2):
        one, two = right[first], right[second]
        only = int((one > two).sum()), int((one < two).sum())
        differences = drawn[:, right.columns.get_loc(first)] - drawn[:, right.columns.get_loc(second)]
        rows.append(
            _pair(problem, first, second, "accuracy", one.mean() - two.mean(), differences, len(right))
            | {"only_first": only[0], "only_second": only[1], "p_mcnemar": mcnemar_p(*only)}
        )
    return _corrected(rows, by="p_mcnemar")


def overlap_counts(predictions: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Models, and (N, models, 6, 3) pixels of each tile that are a class in truth and prediction, in either."""
    models = list(dict.fromkeys(predictions["model"]))
    kinds = ["both", "truth", "predicted"]
    names = list(dict.fromkeys(predictions["image"].astype(str)))
    order = pd.MultiIndex.from_product([names, models, LAND_COVER[:-1]])
    keyed = predictions.assign(image=predictions["image"].astype(str)).set_index(["image", "model", "class"])
    return models, keyed.loc[order, kinds].to_numpy().reshape(len(names), len(models), len(LAND_COVER) - 1, 3)


def ious(sums: np.ndarray) -> np.ndarray:
    """Sums (..., 6, 3) -> IoU of each class (..., 6); NaN for one neither in truth nor prediction."""
    both, truth, predicted = np.moveaxis(sums, -1, 0)
    union = truth + predicted - both
    return np.divide(both, union, out=np.full(union.shape, np.nan), where=union > 0)


def miou(sums: np.ndarray) -> np.ndarray:
    """Sums (..., 6, 3) -> mean of the IoUs that there are; 0 if there is none."""
    values = ious(sums)
    defined = ~np.isnan(values)
    return np.divide(np.nansum(values, -1), defined.sum(-1), out=np.zeros(values.shape[:-1]), where=defined.any(-1))


def iou_intervals(predictions: pd.DataFrame) -> list[Row]:
    """Bootstrap intervals of each model's mean IoU and IoUs: tiles are drawn, their pixels summed, then divided."""
    models, counts = overlap_counts(predictions)
    every = bootstrap(
        counts, lambda sums: np.concatenate([miou(sums)[..., None], ious(sums)], -1).reshape(len(sums), -1)
    )
    every = every.reshape(len(every), len(models), -1)
    totals = counts.sum(0)
    values = np.concatenate([miou(totals)[:, None], ious(totals)], 1)
    rows = []
    for index, model in enumerate(models):
        for place, measure in enumerate(("miou", *(f"iou.{name}" for name in LAND_COVER[:-1]))):
            value = values[index, place]
            if not np.isnan(value):
                interval = percentile_interval(every[:, index, place])
                rows.append(_interval("p3", model, measure, value, interval, len(counts), "bootstrap over tiles"))
    return rows


def iou_pairs(predictions: pd.DataFrame) -> list[Row]:
    """Every pair of segmenters by mean IoU, and by each class's: the bootstrap over tiles, paired.

    Holm's correction is for all pairs by mean IoU, and for all pairs and classes together.
    """
    models, counts = overlap_counts(predictions)
    measures = {"miou": (bootstrap(counts, miou), miou(counts.sum(0)))}
    drawn, totals = bootstrap(counts, lambda sums: ious(sums).reshape(len(sums), -1)), ious(counts.sum(0))
    drawn = drawn.reshape(len(drawn), len(models), -1)
    for place, name in enumerate(LAND_COVER[:-1]):
        measures[f"iou.{name}"] = drawn[..., place], totals[:, place]
    rows: dict[str, list[Row]] = {}
    for measure, (values_drawn, values) in measures.items():
        rows[measure] = [
            _pair(
                *("p3", models[first], models[second], measure, values[first] - values[second]),
                *(values_drawn[:, first] - values_drawn[:, second], len(counts)),
            )
            for first, second in combinations(range(len(models)), 2)
            if not np.isnan(values[[first, second]]).any()
        ]
    by_mean = rows.pop("miou")
    return _corrected(by_mean, by="p_bootstrap") + _corrected(
        [row for of_class in rows.values() for row in of_class], by="p_bootstrap"
    )


def _interval(
    problem: str, model: str, measure: str, value: float, interval: tuple[float, float], images: int, method: str
) -> Row:
    return dict(zip(INTERVALS, (problem, model, measure, value, *interval, images, method), strict=True))


def _pair(
    problem: str, first: str, second: str, measure: str, difference: float, drawn: np.ndarray, images: int
) -> Row:
    low, high = percentile_interval(drawn)
    names = {"problem": problem, "first": first, "second": second, "measure": measure}
    return names | {
        "difference": difference,
        "low": low,
        "high": high,
        "images": images,
        "p_bootstrap": bootstrap_p(drawn),
    }


def _corrected(rows: list[Row], by: str) -> list[Row]:
    """The rows with Holm's p-values; ``by`` decides what is resolved."""
    for name in ("p_mcnemar", "p_bootstrap"):
        if rows and name in rows[0]:
            for row, p in zip(rows, holm([row[name] for row in rows]), strict=True):
                row[f"{name}_holm"] = p
    return [row | {"resolved": int(row[f"{by}_holm"] < LEVEL)} for row in rows]


# -- several seeds of each setting


def seed_table(by_seed: Mapping[int, pd.DataFrame]) -> list[Row]:
    """Mean, standard deviation and 95 % interval (Student's t) over seeds of each setting's accuracy."""
    rows = []
    for setting, right in _stacked(by_seed).items():
        accuracy = right.mean(1)
        low, high = over_seeds(accuracy).interval
        numbers = (setting, len(accuracy), accuracy.mean(), accuracy.std(ddof=1), low, high)
        rows.append(dict(zip(SEEDS, numbers, strict=True)))
    return rows


def seed_pairs(by_seed: Mapping[int, pd.DataFrame]) -> list[Row]:
    """Every pair of settings over seeds, the images held fixed, and over seeds and images together.

    Two settings of one seed share their random start and the same images, so differences are taken cell by cell.
    A difference holds where Holm's correction leaves the p-value over both below LEVEL.
    """
    right = _stacked(by_seed)
    rows: list[Row] = []
    for first, second in combinations(right, 2):
        cells = right[first] - right[second]  # (seeds, images) of -1, 0, 1
        seeds, both = over_seeds(cells.mean(1)), over_seeds_and_images(cells)
        names = {"first": first, "second": second, "seeds": len(cells), "images": cells.shape[1]}
        rows.append(names | {"difference": both.value} | _bounds(seeds, "seeds_", "p_seeds") | _bounds(both, "", "p"))
    for name in ("p_seeds", "p"):
        for row, p in zip(rows, holm([row[name] for row in rows]), strict=True):
            row[f"{name}_holm"] = p
    return [row | {"holds": int(row["p_holm"] < LEVEL)} for row in rows]


def _bounds(mean: Mean, prefix: str, p: str) -> Row:
    low, high = mean.interval
    return {f"{prefix}low": low, f"{prefix}high": high, p: mean.p}


def _stacked(by_seed: Mapping[int, pd.DataFrame]) -> dict[str, np.ndarray]:
    """Each setting's hits (seeds, images), seeds in their order."""
    tables = [hits(by_seed[seed]) for seed in sorted(by_seed)]
    return {setting: np.stack([table[setting] for table in tables]).astype(float) for setting in tables[0].columns}


def to_frame(rows: Sequence[Row], columns: Sequence[str]) -> pd.DataFrame:
    """A table with these columns in this order, whatever the rows lack left empty."""
    return pd.DataFrame(list(rows), columns=list(columns))
