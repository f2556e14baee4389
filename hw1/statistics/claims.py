"""The report's claims, each tried on the numbers here, and on the figures that this report and six others print.

One rule for every claim of order, "B above A": over at least five seeds and twenty images or tiles it holds, does not
hold, or is not resolved; of fewer seeds it is only seen in these weights, or not, since the same model trained with two
seeds differs as well. What one run cannot test is called untestable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from hw1.statistics import published
from hw1.statistics.comparison import LEVEL, Row, seven, tile_counts
from hw1.statistics.intervals import Mean, holm, mcnemar_p, swap_p, two_proportion_p
from hw1.statistics.replications import enough

HOLDS, FAILS, OPEN = "holds", "does not hold", "not resolved"  # over seeds
SEEN, UNSEEN = "seen in these weights", "not seen in these weights"  # of one training each
UNTESTABLE, ABSENT, OTHER = "untestable", "no such setting here", "another setting here"
PRINTED, CLOSE, REVERSED, UNTESTED = "printed, resolved", "printed, not resolved", "printed otherwise", "untested"
COLUMNS = ("claim", "problem", "text", "reading", "figures", "in_report", "reports", "ours", "here", "test")
PICTURES = {"figures": "pictures only", "in_report": UNTESTED, "reports": "pictures only"}


class Order(NamedTuple):
    """A claim in the report's words, shortened, and our ``reading`` of it: in each of ``pairs`` the first model is
    above the second.
    """

    key: str
    problem: str
    text: str
    reading: str
    pairs: tuple[str, ...]


ORDERS = (
    Order("p1_b_above_a", "p1", "ConvNeXt (B) is far above the small CNN (A)", "B above A", ("BA",)),
    Order("p2_a_above_e", "p2", "A is above E", "A above E", ("AE",)),
    Order("p2_b_best", "p2", "B is the best of all", "B above each", ("BA", "BC", "BD", "BE")),
    Order("p2_c_below_b_and_d", "p2", "C is below B and below D", "B, D above C", ("BC", "DC")),
    Order("p2_c_above_a", "p2", "BYOL's pre-training helps", "C above A", ("CA",)),
    Order("p2_frozen_below_full", "p2", "D and E are below B and C", "B, C above D, E", ("BD", "CD", "BE", "CE")),
    Order("p2_byol_frozen", "p2", "BYOL helps E little", "B, D above E", ("BE", "DE")),
    Order("p3_b_above_a", "p3", "DeepLabv3 (B) is above FCN32s (A)", "B above A", ("BA",)),
)


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
    problem 3 after three epochs; ``settings`` the meaning of each of problem 2's
    (:attr:`hw1.run.parameters.params.Setting.meaning`).
    """
    rows = [_of_order(order, pairs, seed_pairs, settings) for order in ORDERS]
    return [rows[0], _tsne(projections), *rows[1:], _masks(epochs)]


def verdicts(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """The verdict of each claim here and in the report's own figures, for ``dvc metrics diff`` to compare."""
    return {row["claim"]: {"here": row["here"], "in_report": row["in_report"]} for row in rows}


# -- claims of order


@dataclass(frozen=True)
class Difference:
    """First minus second, in points, with its 95 % interval and Holm's p-value; over so many ``seeds``, 1 for one
    training each; ``test`` names the test.
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


def _of_order(order: Order, pairs: pd.DataFrame, seed_pairs: pd.DataFrame, settings: Mapping[str, tuple]) -> Row:
    differences = {pair: difference(order.problem, *pair, pairs, seed_pairs) for pair in order.pairs}
    models = set("".join(order.pairs)) if order.problem == "p2" else set()
    if any(settings[model] != published.P2_SETTINGS[model] for model in models & settings.keys()):
        verdict_here, tested = OTHER, {}
    else:
        tested = {pair: each for pair, each in differences.items() if each}
        verdict_here = ABSENT if None in differences.values() else verdict(list(tested.values()))
    figures, in_report = _in_report(order)
    reports = [f"{first} − {second} {agreement(order.problem, first, second).text}" for first, second in order.pairs]
    return {
        "claim": order.key,
        "problem": order.problem,
        "text": order.text,
        "reading": order.reading,
        "figures": figures,
        "in_report": in_report,
        "reports": "; ".join(reports),
        "ours": "; ".join(f"{first} − {second} {each.text}" for (first, second), each in tested.items()),
        "here": verdict_here,
        "test": "; ".join(dict.fromkeys(each.test for each in tested.values())),
    }


def difference(
    problem: str, first: str, second: str, pairs: pd.DataFrame, seed_pairs: pd.DataFrame
) -> Difference | None:
    """The difference over the seeds where there are enough, else of one training each; None without the two."""
    unit, of_one = ("tiles", "swapped tile by tile") if problem == "p3" else ("images", "McNemar")
    for table in (seed_pairs, pairs):
        for row in table[(table["problem"] == problem) & (table["measure"] == published.MEASURE[problem])].itertuples():
            sign = {(first, second): 1, (second, first): -1}.get((row.first, row.second))
            seeds = getattr(row, "seeds", 1)
            if sign and (table is pairs or enough(seeds, row.images)):
                low, high = sorted((sign * 100 * row.low, sign * 100 * row.high))
                of_seeds = f"{seeds} seeds and {row.images:,} {unit}, two-way model, Holm"
                test = of_seeds if seeds > 1 else f"one training each, {of_one} on {row.images:,} {unit}, Holm"
                return Difference(sign * 100 * row.difference, low, high, row.p_holm, seeds, test)
    return None


def verdict(differences: Sequence[Difference]) -> str:
    """The verdict on a claim: over seeds it holds where every pair is resolved in its direction, and does not where one
    is in the other; of one training each, every pair is seen or it is not.
    """
    up = all(each.p < LEVEL and each.points > 0 for each in differences)
    if any(each.seeds == 1 for each in differences):
        return SEEN if up else UNSEEN
    down = any(each.p < LEVEL and each.points < 0 for each in differences)
    return HOLDS if up else FAILS if down else OPEN


def _in_report(order: Order) -> tuple[str, str]:
    """The printed figures and their verdict: by the order of each pair, and by whether the images would resolve it."""
    printed = published.FIGURES[order.problem]
    figures = ", ".join(f"{model} {printed[model]:g} %" for model in sorted(set("".join(order.pairs))))
    if order.problem == "p3":  # without each tile's counts there is no test
        return figures, UNTESTED
    part = "p1" if order.problem == "p1" else "office"
    p_values = printed_p_values(printed, published.COURSE_DATA[part]["validation"])
    turned = [(first, second) for first, second in order.pairs if printed[first] < printed[second]]
    resolved = [p_values[tuple(sorted(pair))] < LEVEL for pair in turned or order.pairs]
    if turned:
        return figures, f"{REVERSED}, {'resolved' if any(resolved) else 'not resolved'}"
    return figures, PRINTED if all(resolved) else CLOSE


def printed_p_values(accuracy: Mapping[str, float], images: int) -> dict[tuple[str, str], float]:
    """Holm's p-values of every pair of printed accuracies (percent), as if they were of different images."""
    pairs = list(combinations(sorted(accuracy), 2))
    p_values = [two_proportion_p(accuracy[first] / 100, accuracy[second] / 100, images) for first, second in pairs]
    return dict(zip(pairs, holm(p_values), strict=True))


class Agreement(NamedTuple):
    """Number of ``reports`` and of those with the first model ``above`` the second, the sign test's two-sided p-value,
    and the mean difference in points with its 95 % interval over reports (Student's t).
    """

    above: int
    reports: int
    p: float
    points: float
    low: float
    high: float

    @property
    def text(self) -> str:
        bounds = f"{self.points:+.1f}, {self.low:.1f} to {self.high:.1f}"
        return f"{self.above} of {self.reports} ({bounds}, sign test p = {self.p:.2g})"


def agreement(problem: str, first: str, second: str) -> Agreement:
    """Compare two models over all seven public reports."""
    figures = [report.figures[problem] for report in published.REPORTS]
    differences = np.array([each[first] - each[second] for each in figures])
    above, count = int((differences > 0).sum()), len(differences)
    mean = Mean(float(differences.mean()), float(differences.std(ddof=1)) / count**0.5, count - 1)
    return Agreement(above, count, mcnemar_p(above, int((differences < 0).sum())), mean.value, *mean.interval)


# -- claims about pictures


def same_label(points: np.ndarray, labels: np.ndarray, neighbours: int = 10) -> np.ndarray:
    """(N,) the share of each point's nearest neighbours that carry its label.

    ``points`` (N, 2) float, ``labels`` (N,); N above 1. Euclidean distance, the point itself left out; with fewer than
    ``neighbours`` + 1 points all others are neighbours.
    """
    neighbours = min(neighbours, len(points) - 1)
    squares = (points**2).sum(axis=1)
    distance = squares[:, None] + squares[None, :] - 2 * points @ points.T  # (N, N)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argpartition(distance, neighbours - 1, axis=1)[:, :neighbours]  # (N, neighbours)
    return (labels[nearest] == labels[:, None]).mean(axis=1)


def _tsne(projections: pd.DataFrame) -> Row:
    """Measured and not judged: each run of t-SNE has a scale and a layout of its own."""
    epochs, distances, same = [], [], []
    for epoch, table in projections[projections["method"] == "tsne"].groupby("epoch"):
        points = table[["x", "y"]].to_numpy(float)
        epochs.append(str(int(epoch)))
        distances.append(f"{np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()):.1f}")
        same.append(f"{100 * same_label(points, table['label'].to_numpy()).mean():.0f}")
    return PICTURES | {
        "claim": "p1_tsne_outward",
        "problem": "p1",
        "text": "t-SNE's points move outward over the epochs, and the classes stay mixed",
        "reading": "distances grow, neighbours of other classes",
        "ours": f"after epoch {', '.join(epochs)}: distance from the centre {', '.join(distances)}; "
        f"neighbours of the same class {', '.join(same)} %",
        "here": UNTESTABLE,
        "test": "none: the scale of a t-SNE is its own in each run",
    }


def _masks(epochs: pd.DataFrame) -> Row:
    """The claim that the mean IoU of all validation tiles rises from each epoch to the next, for both models; the
    models are called ``A 13``, by their epoch.
    """
    names, table = tile_counts(epochs)
    counts = table[..., :3]
    values = 100 * seven(counts.sum(0))[:, 0]
    models = [name.partition(" ")[0] for name in names]
    steps = [(before, after) for before, after in pairwise(range(len(names))) if models[before] == models[after]]
    p_values = holm([float(swap_p(counts[:, list(step)], seven)[0]) for step in steps])
    rises = [p < LEVEL and values[after] > values[before] for p, (before, after) in zip(p_values, steps, strict=True)]
    curves = pd.DataFrame({"epoch": [name.partition(" ")[2] for name in names], "value": values, "model": models})
    return PICTURES | {
        "claim": "p3_masks_improve",
        "problem": "p3",
        "text": "its pictures, no sentence: masks get better over the epochs",
        "reading": "mIoU of all tiles rises at each step, both models",
        "ours": "; ".join(
            f"{model} after epoch {', '.join(curve['epoch'])}: {', '.join(map('{:.1f}'.format, curve['value']))} %"
            for model, curve in curves.groupby("model", sort=False)
        ),
        "here": SEEN if steps and all(rises) else UNSEEN,
        "test": f"one training each, every step swapped tile by tile on {len(counts):,} tiles, Holm",
    }
