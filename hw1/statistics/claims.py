"""The report's claims, each tried on the numbers here, and on the figures that the report itself prints.

A claim of order, "B above A", is tried by the difference of each pair it names: over seeds and images where enough
seeds are kept, else on the images of one training. A claim about pictures is measured on what they show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from hw1.data.classes import LAND_COVER
from hw1.data.iou import ious, mean_of
from hw1.statistics import published
from hw1.statistics.comparison import LEVEL, Row
from hw1.statistics.intervals import bootstrap, holm, percentile_interval, two_proportion_p
from hw1.statistics.neighbours import same_label
from hw1.statistics.replications import FEW

HOLDS, FAILS, OPEN, CONTRADICTED, UNTESTED = "holds", "does not hold", "not resolved", "contradicted", "untested"
COLUMNS = ("claim", "problem", "text", "figures", "in_report", "ours", "here", "test")


@dataclass(frozen=True)
class Order:
    """A claim that in each of ``pairs`` the first model is above the second, in the report's words, shortened."""

    key: str
    problem: str
    text: str
    pairs: tuple[tuple[str, str], ...]


ORDERS = (
    Order("p1_b_above_a", "p1", "ConvNeXt (B) is far above the small CNN (A)", (("B", "A"),)),
    Order("p2_a_above_e", "p2", "A is above E", (("A", "E"),)),
    Order("p2_b_best", "p2", "B is the best of all", tuple(("B", other) for other in "ACDE")),
    Order("p2_c_below_b_and_d", "p2", "C is below B and below D", (("B", "C"), ("D", "C"))),
    Order("p2_c_above_a", "p2", "C is above A: BYOL's pre-training helps", (("C", "A"),)),
    Order("p2_frozen_below_full", "p2", "D and E are below B and C", (("B", "D"), ("C", "D"), ("B", "E"), ("C", "E"))),
    Order("p2_byol_frozen", "p2", "BYOL helps little when frozen: E is below B and below D", (("B", "E"), ("D", "E"))),
    Order("p3_b_above_a", "p3", "DeepLabv3 (B) is above FCN32s (A)", (("B", "A"),)),
)
PRINTED = {"p1": published.P1_ACCURACY, "p2": published.P2_ACCURACY, "p3": published.P3_MIOU}


@dataclass(frozen=True)
class Difference:
    """First minus second, in points, with its 95 % interval, Holm's p-value, and by what it was tried."""

    points: float
    low: float
    high: float
    p: float
    test: str

    @property
    def text(self) -> str:
        points, low, high = (round(value, 1) + 0.0 for value in (self.points, self.low, self.high))  # no -0.0
        return f"{points:+.1f} ({low:.1f} to {high:.1f})"


def tried(
    pairs: pd.DataFrame, seed_pairs: pd.DataFrame, projections: pd.DataFrame, masks: Mapping[str, Any]
) -> list[Row]:
    """A row of ``COLUMNS`` for each claim, in the order of the report's problems.

    ``pairs`` and ``seed_pairs`` are the tables of :mod:`hw1.statistics.comparison` and
    :mod:`hw1.statistics.replications`; ``projections`` the points of problem 1's plots; ``masks`` those of problem 3.
    """
    rows = [_of_order(order, pairs, seed_pairs) for order in ORDERS]
    rows[1:1] = [_tsne(projections)]
    return [*rows, _masks(masks)]


def verdicts(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """What ``dvc metrics diff`` compares: the verdict of each claim here and in the report's own figures."""
    return {row["claim"]: {"here": row["here"], "in_report": row["in_report"]} for row in rows}


def _row(claim: str, problem: str, text: str, **found: str) -> Row:
    return {"claim": claim, "problem": problem, "text": text, **found}


# -- claims of order


def _of_order(order: Order, pairs: pd.DataFrame, seed_pairs: pd.DataFrame) -> Row:
    found = {pair: _difference(order.problem, *pair, pairs, seed_pairs) for pair in order.pairs}
    there = {pair: difference for pair, difference in found.items() if difference}
    figures, in_report = _in_report(order)
    return _row(
        order.key,
        order.problem,
        order.text,
        figures=figures,
        in_report=in_report,
        ours="; ".join(f"{first} − {second} {difference.text}" for (first, second), difference in there.items()),
        here=_verdict(list(found.values())),
        test="; ".join(dict.fromkeys(difference.test for difference in there.values())),
    )


def _difference(
    problem: str, first: str, second: str, pairs: pd.DataFrame, seed_pairs: pd.DataFrame
) -> Difference | None:
    """None where one of the two models is not there."""
    measure = "miou" if problem == "p3" else "accuracy"
    for table, enough in ((seed_pairs, lambda row: row.seeds >= FEW), (pairs, lambda row: True)):
        here = table[(table["problem"] == problem) & (table["measure"] == measure)]
        for row in here.itertuples():
            sign = {(first, second): 1, (second, first): -1}.get((row.first, row.second))
            if sign and enough(row):
                low, high = sorted((sign * 100 * row.low, sign * 100 * row.high))
                return Difference(sign * 100 * row.difference, low, high, *_evidence(row, problem))
    return None


def _evidence(row: Any, problem: str) -> tuple[float, str]:
    """Holm's p-value, and where it is from."""
    unit = "tiles" if problem == "p3" else "images"
    if hasattr(row, "seeds"):
        return row.p_holm, f"{row.seeds} seeds and {row.images:,} {unit}, two-way model, Holm"
    if problem == "p3":
        return row.p_bootstrap_holm, f"one training, paired bootstrap over {row.images:,} tiles, Holm"
    return row.p_mcnemar_holm, f"one training, McNemar on {row.images:,} images, Holm"


def _verdict(differences: Sequence[Difference | None]) -> str:
    """It holds where every pair is resolved in its direction, and does not where one is resolved in the other."""
    if any(found and found.p < LEVEL and found.points < 0 for found in differences):
        return FAILS
    return HOLDS if all(found and found.p < LEVEL and found.points > 0 for found in differences) else OPEN


def _in_report(order: Order) -> tuple[str, str]:
    """The printed figures and what they say: contradicted by one pair the other way round, resolved or not."""
    printed, named = PRINTED[order.problem], dict.fromkeys(model for pair in order.pairs for model in pair)
    figures = ", ".join(f"{model} {printed[model]:g} %" for model in sorted(named))
    if any(printed[first] < printed[second] for first, second in order.pairs):
        return figures, CONTRADICTED
    if order.problem == "p3":  # without each tile's counts there is no test
        return figures, UNTESTED
    part = "p1" if order.problem == "p1" else "office"
    p_values = printed_p_values(printed, published.COURSE_DATA[part]["validation"])
    resolved = all(p_values[tuple(sorted(pair))] < LEVEL for pair in order.pairs)
    return figures, HOLDS if resolved else OPEN


def printed_p_values(accuracy: Mapping[str, float], images: int) -> dict[tuple[str, str], float]:
    """Holm's p-values of every pair of printed accuracies (percent), as if they were of different images."""
    names = sorted(accuracy)
    pairs = [(first, second) for index, first in enumerate(names) for second in names[index + 1 :]]
    p_values = [two_proportion_p(accuracy[first] / 100, accuracy[second] / 100, images) for first, second in pairs]
    return dict(zip(pairs, holm(p_values), strict=True))


# -- claims about pictures


def _tsne(projections: pd.DataFrame) -> Row:
    """Outward: the root mean square distance from the centre grows from each picture to the next, at 95 % over images.
    Mixed: in the last, less than half of a point's neighbours are of its class, at 95 %.
    """
    tsne = projections[projections["method"] == "tsne"]
    epochs = [int(epoch) for epoch in dict.fromkeys(tsne["epoch"])]
    squares, same = [], []
    for epoch in epochs:
        of_epoch = tsne[tsne["epoch"] == epoch]
        points = of_epoch[["x", "y"]].to_numpy(float)
        squares.append(((points - points.mean(0)) ** 2).sum(1))
        same.append(same_label(points, of_epoch["label"].to_numpy()))
    drawn = bootstrap(np.stack([*squares, same[-1]], 1), lambda sums: sums)
    grown = [percentile_interval(drawn[:, i + 1] / drawn[:, i]) for i in range(len(epochs) - 1)]
    mixed = percentile_interval(drawn[:, -1] / len(same[-1]))
    if any(high < 1 for _, high in grown) or mixed[0] > 0.5:
        here = FAILS
    else:
        here = HOLDS if grown and all(low > 1 for low, _ in grown) and mixed[1] < 0.5 else OPEN
    after = ", ".join(map(str, epochs))
    distances = ", ".join(f"{np.sqrt(values.mean()):.1f}" for values in squares)
    agreement = ", ".join(f"{100 * values.mean():.0f}" for values in same)
    return _row(
        "p1_tsne_outward",
        "p1",
        "t-SNE's points move outward over the epochs, and the classes stay mixed",
        figures="pictures only",
        in_report=UNTESTED,
        ours=f"after epoch {after}: distance from the centre {distances}; neighbours of the same class {agreement} %",
        here=here,
        test=f"growth and mixture (under half), bootstrap over {len(same[-1]):,} images",
    )


def _masks(masks: Mapping[str, Any]) -> Row:
    """Whether the mean IoU of the tiles shown rises from each epoch to the next, for both models."""
    tiles = sorted(name.partition("/")[2] for name in masks if name.startswith("truth/"))
    ours, rising = [], []
    for model in "AB":
        epochs = sorted({int(name.split("/")[2]) for name in masks if name.startswith(f"{model}/")})
        values = [
            _miou([(masks[f"truth/{tile}"], masks[f"{model}/{tile}/{epoch}"]) for tile in tiles]) for epoch in epochs
        ]
        ours.append(
            f"{model} after epoch {', '.join(map(str, epochs))}: {', '.join(f'{100 * v:.1f}' for v in values)} %"
        )
        rising += [later > earlier for earlier, later in pairwise(values)]
    return _row(
        "p3_masks_improve",
        "p3",
        "The masks get better from the early to the middle to the last epoch",
        figures="pictures only",
        in_report=UNTESTED,
        ours=f"mean IoU of tiles {', '.join(tiles)}: {'; '.join(ours)}",
        here=OPEN if not rising else HOLDS if all(rising) else FAILS,
        test=f"each step up, {len(tiles)} tiles without an interval",
    )


def _miou(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Of (truth, predicted) class codes, pixels added up over the tiles."""
    sums = np.zeros((len(LAND_COVER) - 1, 3))
    for truth, predicted in pairs:
        for code in range(len(sums)):
            of_truth, said = truth == code, predicted == code
            sums[code] += (of_truth & said).sum(), of_truth.sum(), said.sum()
    return float(mean_of(ious(sums)))
