"""The report's claims, each tried on the numbers here, and on the figures that the report itself prints.

One rule for every claim of order, "B above A": over at least five seeds and twenty images or tiles it holds, does not
hold, or is not resolved; of fewer seeds it is only seen in these weights, or not, since the same model trained with two
seeds differs as well. What one run cannot test is called untestable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from hw1.statistics import published
from hw1.statistics.comparison import LEVEL, Row, seven, tile_counts
from hw1.statistics.intervals import holm, swap_p, two_proportion_p
from hw1.statistics.neighbours import same_label
from hw1.statistics.replications import enough
from hw1.statistics.reports import agreement

HOLDS, FAILS, OPEN = "holds", "does not hold", "not resolved"  # over seeds
SEEN, UNSEEN = "seen in these weights", "not seen in these weights"  # of one training each
UNTESTABLE, ABSENT, OTHER = "untestable", "no such setting here", "another setting here"
PRINTED, CLOSE, REVERSED, UNTESTED = "printed, resolved", "printed, not resolved", "printed otherwise", "untested"
COLUMNS = ("claim", "problem", "text", "reading", "figures", "in_report", "reports", "ours", "here", "test")


@dataclass(frozen=True)
class Order:
    """A claim in the report's words, shortened, and our ``reading`` of it: that in each of ``pairs`` the first model is
    above the second.
    """

    key: str
    problem: str
    text: str
    reading: str
    pairs: tuple[tuple[str, str], ...]


ORDERS = (
    Order(
        *("p1_b_above_a", "p1", "ConvNeXt (B) is far above the small CNN (A)"),
        *("B above A", (("B", "A"),)),
    ),
    Order("p2_a_above_e", "p2", "A is above E", "A above E", (("A", "E"),)),
    Order(
        *("p2_b_best", "p2", "B is the best of all", "B above each"),
        tuple(("B", other) for other in "ACDE"),
    ),
    Order(
        *("p2_c_below_b_and_d", "p2", "C is below B and below D", "B, D above C"),
        (("B", "C"), ("D", "C")),
    ),
    Order("p2_c_above_a", "p2", "BYOL's pre-training helps", "C above A", (("C", "A"),)),
    Order(
        *("p2_frozen_below_full", "p2", "D and E are below B and C", "B, C above D, E"),
        (("B", "D"), ("C", "D"), ("B", "E"), ("C", "E")),
    ),
    Order(
        *("p2_byol_frozen", "p2", "BYOL helps E little", "B, D above E"),
        (("B", "E"), ("D", "E")),
    ),
    Order("p3_b_above_a", "p3", "DeepLabv3 (B) is above FCN32s (A)", "B above A", (("B", "A"),)),
)
PRINTED_FIGURES = {"p1": published.P1_ACCURACY, "p2": published.P2_ACCURACY, "p3": published.P3_MIOU}


@dataclass(frozen=True)
class Difference:
    """First minus second, in points, with its 95 % interval and Holm's p-value; ``seeds`` that it is over, 1 of one
    training each; by what it was tried.
    """

    points: float
    low: float
    high: float
    p: float
    seeds: int
    test: str

    @property
    def text(self) -> str:
        points, low, high = (round(value, 1) + 0.0 for value in (self.points, self.low, self.high))  # no -0.0
        return f"{points:+.1f} ({low:.1f} to {high:.1f})"


def tried(
    pairs: pd.DataFrame,
    seed_pairs: pd.DataFrame,
    projections: pd.DataFrame,
    epochs: pd.DataFrame,
    settings: Mapping[str, tuple],
) -> list[Row]:
    """A row of ``COLUMNS`` for each claim, in the order of the report's problems.

    ``pairs`` and ``seed_pairs`` are the tables of :mod:`hw1.statistics.comparison` and
    :mod:`hw1.statistics.replications`; ``projections`` the points of problem 1's plots; ``epochs`` the tiles' pixels of
    problem 3 after three epochs; ``settings`` what each of problem 2's starts from and trains, and what else it has of
    its own (:attr:`hw1.run.parameters.params.Setting.meaning`).
    """
    rows = [_of_order(order, pairs, seed_pairs, settings) for order in ORDERS]
    rows[1:1] = [_tsne(projections)]
    return [*rows, _masks(epochs)]


def verdicts(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """What ``dvc metrics diff`` compares: the verdict of each claim here and in the report's own figures."""
    return {row["claim"]: {"here": row["here"], "in_report": row["in_report"]} for row in rows}


# -- claims of order


def _of_order(order: Order, pairs: pd.DataFrame, seed_pairs: pd.DataFrame, settings: Mapping[str, tuple]) -> Row:
    found = {pair: difference(order.problem, *pair, pairs, seed_pairs) for pair in order.pairs}
    named = {model for pair in order.pairs for model in pair} if order.problem == "p2" else set()
    other = {model for model in named & settings.keys() if settings[model] != published.P2_SETTINGS[model]}
    figures, in_report = _in_report(order)
    shown = {} if other else {pair: each for pair, each in found.items() if each}
    return {
        "claim": order.key,
        "problem": order.problem,
        "text": order.text,
        "reading": order.reading,
        "figures": figures,
        "in_report": in_report,
        "reports": "; ".join(
            f"{first} − {second} {agreement(order.problem, first, second).text}" for first, second in found
        ),
        "ours": "; ".join(f"{first} − {second} {each.text}" for (first, second), each in shown.items()),
        "here": OTHER if other else ABSENT if None in found.values() else verdict(list(shown.values())),
        "test": "; ".join(dict.fromkeys(each.test for each in shown.values())),
    }


def difference(
    problem: str, first: str, second: str, pairs: pd.DataFrame, seed_pairs: pd.DataFrame
) -> Difference | None:
    """Of the seeds where there are enough, else of one training each; None without the two."""
    measure, unit = ("miou", "tiles") if problem == "p3" else ("accuracy", "images")
    for table in (seed_pairs, pairs):
        here = table[(table["problem"] == problem) & (table["measure"] == measure)]
        for row in here.itertuples():
            sign = {(first, second): 1, (second, first): -1}.get((row.first, row.second))
            seeds = getattr(row, "seeds", 1)
            if sign and (table is pairs or enough(seeds, row.images)):
                low, high = sorted((sign * 100 * row.low, sign * 100 * row.high))
                of_one = "swapped tile by tile" if problem == "p3" else "McNemar"
                of_seeds = f"{seeds} seeds and {row.images:,} {unit}, two-way model, Holm"
                test = of_seeds if seeds > 1 else f"one training each, {of_one} on {row.images:,} {unit}, Holm"
                return Difference(sign * 100 * row.difference, low, high, row.p_holm, seeds, test)
    return None


def verdict(differences: Sequence[Difference]) -> str:
    """Over seeds it holds where every pair is resolved in its direction, and does not where one is in the other; of one
    training each, every pair is seen or it is not.
    """
    up = all(each.p < LEVEL and each.points > 0 for each in differences)
    if any(each.seeds == 1 for each in differences):
        return SEEN if up else UNSEEN
    down = any(each.p < LEVEL and each.points < 0 for each in differences)
    return HOLDS if up else FAILS if down else OPEN


def _in_report(order: Order) -> tuple[str, str]:
    """The printed figures and what they say by the order of each pair, and by whether its images would resolve it."""
    printed, named = PRINTED_FIGURES[order.problem], {model for pair in order.pairs for model in pair}
    figures = ", ".join(f"{model} {printed[model]:g} %" for model in sorted(named))
    if order.problem == "p3":  # without each tile's counts there is no test
        return figures, UNTESTED
    part = "p1" if order.problem == "p1" else "office"
    p_values = printed_p_values(printed, published.COURSE_DATA[part]["validation"])
    turned = [pair for pair in order.pairs if printed[pair[0]] < printed[pair[1]]]
    resolved = [p_values[tuple(sorted(pair))] < LEVEL for pair in turned or order.pairs]
    if turned:
        return figures, f"{REVERSED}, {'resolved' if any(resolved) else 'not resolved'}"
    return figures, PRINTED if all(resolved) else CLOSE


def printed_p_values(accuracy: Mapping[str, float], images: int) -> dict[tuple[str, str], float]:
    """Holm's p-values of every pair of printed accuracies (percent), as if they were of different images."""
    names = sorted(accuracy)
    pairs = [(first, second) for index, first in enumerate(names) for second in names[index + 1 :]]
    p_values = [two_proportion_p(accuracy[first] / 100, accuracy[second] / 100, images) for first, second in pairs]
    return dict(zip(pairs, holm(p_values), strict=True))


# -- claims about pictures


def _tsne(projections: pd.DataFrame) -> Row:
    """Measured and not judged: each run of t-SNE has a scale and a layout of its own."""
    tsne = projections[projections["method"] == "tsne"]
    distances, same = [], []
    for _, of_epoch in tsne.groupby("epoch"):
        points = of_epoch[["x", "y"]].to_numpy(float)
        distances.append(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))
        same.append(100 * same_label(points, of_epoch["label"].to_numpy()).mean())
    after = ", ".join(str(int(epoch)) for epoch in dict.fromkeys(tsne["epoch"]))
    return {
        "claim": "p1_tsne_outward",
        "problem": "p1",
        "text": "t-SNE's points move outward over the epochs, and the classes stay mixed",
        "reading": "distances grow, neighbours of other classes",
        "figures": "pictures only",
        "in_report": UNTESTED,
        "reports": "pictures only",
        "ours": f"after epoch {after}: distance from the centre {', '.join(f'{each:.1f}' for each in distances)}; "
        f"neighbours of the same class {', '.join(f'{each:.0f}' for each in same)} %",
        "here": UNTESTABLE,
        "test": "none: the scale of a t-SNE is its own in each run",
    }


def _masks(epochs: pd.DataFrame) -> Row:
    """Whether the mean IoU of all validation tiles rises from each epoch to the next, for both models; the models are
    called ``A 13``, by their epoch.
    """
    names, table = tile_counts(epochs)
    counts = table[..., :3]
    values = 100 * seven(counts.sum(0))[:, 0]
    told: dict[str, list[tuple[str, str]]] = {}
    for name, value in zip(names, values, strict=True):
        model, _, epoch = name.partition(" ")
        told.setdefault(model, []).append((epoch, f"{value:.1f}"))
    steps = [
        (before, after)
        for before, after in pairwise(range(len(names)))
        if names[before].partition(" ")[0] == names[after].partition(" ")[0]
    ]
    p_values = holm([float(swap_p(counts[:, list(step)], seven)[0]) for step in steps])
    rises = [p < LEVEL and values[after] > values[before] for p, (before, after) in zip(p_values, steps, strict=True)]
    return {
        "claim": "p3_masks_improve",
        "problem": "p3",
        "text": "its pictures, no sentence: masks get better over the epochs",
        "reading": "mIoU of all tiles rises at each step, both models",
        "figures": "pictures only",
        "in_report": UNTESTED,
        "reports": "pictures only",
        "ours": "; ".join(
            "{} after epoch {}: {} %".format(model, *(", ".join(each) for each in zip(*pairs, strict=True)))
            for model, pairs in told.items()
        ),
        "here": SEEN if steps and all(rises) else UNSEEN,
        "test": f"one training each, every step swapped tile by tile on {len(counts):,} tiles, Holm",
    }
