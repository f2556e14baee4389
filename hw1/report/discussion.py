"""Sentences about the results, each made from the numbers it speaks of.

Accuracies and IoUs are fractions 0..1; the sentences give percent and percentage points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from hw1.params import Setting
from hw1.report import published
from hw1.report.neighbours import neighbour_agreement
from hw1.report.significance import holm, two_proportion_p, wilson_interval

LEVEL = 0.05
START = {"scratch": "random weights", "supervised": "the supervised backbone", "byol": "the BYOL backbone"}
TRAINED = {"full": "training the full model", "classifier": "training the classifier only"}


@dataclass(frozen=True)
class Pair:
    """Two models compared: accuracy of ``first`` minus that of ``second`` in points, Holm-adjusted p-value."""

    first: str
    second: str
    points: float
    p: float
    images: int

    @property
    def resolved(self) -> bool:
        return self.p < LEVEL

    @property
    def verdict(self) -> str:
        return "resolved" if self.resolved else f"not resolved by {self.images:,} images"


def compare_all(accuracy: Mapping[str, float], images: int) -> dict[tuple[str, str], Pair]:
    """Every pair of models, tested together on ``images`` validation images."""
    pairs = list(combinations(accuracy, 2))
    p_values = holm([two_proportion_p(accuracy[first], accuracy[second], images) for first, second in pairs])
    return {
        (first, second): Pair(first, second, 100 * (accuracy[first] - accuracy[second]), p, images)
        for (first, second), p in zip(pairs, p_values, strict=True)
    }


def compare_published() -> dict[tuple[str, str], Pair]:
    """The report's own five settings under the same test, on its validation images."""
    accuracy = {key: value / 100 for key, value in published.P2_ACCURACY.items()}
    return compare_all(accuracy, published.COURSE_DATA["office"]["validation"])


def percent_interval(accuracy: float, images: int) -> str:
    low, high = wilson_interval(accuracy, images)
    return f"{100 * low:.1f} to {100 * high:.1f}"


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def points_text(points: float) -> str:
    """How the first of two stands to the second."""
    if abs(points) < 0.05:
        return "level with"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"


def setting_sentences(settings: Mapping[str, Setting], accuracy: Mapping[str, float], images: int) -> dict[str, list]:
    """One sentence for each pair of settings that differ in one thing only, by what that thing is."""
    themes: dict[str, list] = {"The starting weights": [], "The trained part": []}
    for (first, second), pair in compare_all(accuracy, images).items():
        high, low = (first, second) if pair.points >= 0 else (second, first)
        one, two = settings[high], settings[low]
        if one.train == two.train and one.backbone != two.backbone:
            theme = "The starting weights"
            text = f"When {TRAINED[one.train]}, {START[one.backbone]} ({high}) is {{}} {START[two.backbone]} ({low})"
        elif one.backbone == two.backbone and one.train != two.train:
            theme = "The trained part"
            text = f"From {START[one.backbone]}, {TRAINED[one.train]} ({high}) is {{}} {TRAINED[two.train]} ({low})"
        else:
            continue
        ours = text.format(points_text(abs(pair.points)))
        report = _report_sentence(high, low, settings)
        themes[theme].append(f"{ours}: {pair.verdict} ({p_text(pair.p)}). {report}")
    return {theme: sentences for theme, sentences in themes.items() if sentences}


def _report_sentence(high: str, low: str, settings: Mapping[str, Setting]) -> str:
    if not all(as_published(key, settings[key]) for key in (high, low)):
        return "The report has no such pair."
    report = compare_published()
    pair = report.get((high, low)) or report[low, high]
    points = pair.points if pair.first == high else -pair.points
    return f"In the report {high} is {points_text(points)} {low}: {pair.verdict}."


def as_published(key: str, setting: Setting) -> bool:
    """Whether the report's setting of this name is the same experiment."""
    return published.P2_SETTINGS.get(key) == (setting.backbone, setting.train)


def ranking_sentences(
    settings: Mapping[str, Setting], accuracy: Mapping[str, float], images: int, chance: float
) -> list:
    """The order of the settings, how much of it is resolved, and how it agrees with the report's."""
    ours, report = compare_all(accuracy, images), compare_published()
    order = sorted(accuracy, key=accuracy.get, reverse=True)
    listed = ", ".join(f"{key} {100 * accuracy[key]:.1f} %" for key in order)
    resolved = sum(pair.resolved for pair in ours.values())
    sentences = [f"From the highest to the lowest: {listed}. Of {len(ours)} pairs {resolved} are resolved."]
    near = [key for key in order if wilson_interval(accuracy[key], images)[0] <= chance]
    at_chance = f"{', '.join(near)}: not above chance" if near else "Every setting's interval lies above chance"
    sentences.append(f"{at_chance} ({100 * chance:.1f} %).")
    shared = [pair for pair in ours if pair in report and all(as_published(key, settings[key]) for key in pair)]
    both = [pair for pair in shared if ours[pair].resolved and report[pair].resolved]
    same = sum((ours[pair].points > 0) == (report[pair].points > 0) for pair in both)
    only_report = sum(report[pair].resolved and not ours[pair].resolved for pair in shared)
    only_ours = sum(ours[pair].resolved and not report[pair].resolved for pair in shared)
    sentences.append(
        f"Of the report's {len(report)} pairs its own {published.COURSE_DATA['office']['validation']} images resolve "
        f"{sum(pair.resolved for pair in report.values())}. Resolved in both: {len(both)}, in the same direction: "
        f"{same}. Resolved in the report only: {only_report}; here only: {only_ours}."
    )
    return sentences


def classifier_sentence(accuracy: Mapping[str, float], images: int) -> str:
    """Problem 1: model B against model A, here and in the report."""
    pair = compare_all({key: accuracy[key] for key in "BA"}, images)["B", "A"]
    printed = {key: published.P1_ACCURACY[key] / 100 for key in "BA"}
    report = compare_all(printed, published.COURSE_DATA["p1"]["validation"])["B", "A"]
    return (
        f"B is {points_text(pair.points)} A: {pair.verdict} ({p_text(pair.p)}). "
        f"In the report B is {points_text(report.points)} A: {report.verdict}."
    )


def segmentation_sentences(metrics: Mapping, majority_class: str, majority_miou: float, tiles: int) -> list[str]:
    """Problem 3: DeepLabv3 against FCN32s in the mean and by class."""
    miou, iou = metrics["miou"], metrics["iou"]
    report = published.P3_MIOU["B"] - published.P3_MIOU["A"]
    sentences = [
        f"The mean IoU of B is {points_text(100 * (miou['B'] - miou['A']))} that of A; "
        f"in the report it is {points_text(report)} it."
    ]
    gaps = {name: 100 * (pair["B"] - pair["A"]) for name, pair in iou.items() if None not in (pair["A"], pair["B"])}
    for model, sign in (("B", 1), ("A", -1)):
        ahead = [f"{name} (by {abs(gap):.1f})" for name, gap in gaps.items() if sign * gap > 0]
        sentences.append(f"{model} has the higher IoU in {', '.join(ahead) if ahead else 'no class'}.")
    absent = [name for name in iou if name not in gaps]
    if absent:
        sentences.append(f"Without an IoU, as neither truth nor prediction holds it: {', '.join(absent)}.")
    sentences.append(
        f'Naming every pixel "{majority_class}" would give a mean IoU of {100 * majority_miou:.1f} %: '
        f"A is {points_text(100 * (miou['A'] - majority_miou))} it, "
        f"B {points_text(100 * (miou['B'] - majority_miou))} it."
    )
    sentences.append(
        f"No interval is given: the counts are summed over {tiles} tiles, and pixels of one tile are not independent."
    )
    return sentences


def projection_rows(projections: pd.DataFrame) -> list[tuple[str, int, float, float]]:
    """(method, epoch, neighbour agreement, agreement by chance) of each picture, PCA first; fractions."""
    rows = []
    for (method, epoch), points in projections.groupby(["method", "epoch"]):
        agreement = neighbour_agreement(points[["x", "y"]].to_numpy(float), points["label"].to_numpy())
        rows.append((str(method), int(epoch), *agreement))
    return rows


def tsne_sentence(rows: list[tuple[str, int, float, float]]) -> str:
    """How the agreement changes from the first to the last of the t-SNE pictures."""
    pictures = [row for row in rows if row[0] == "tsne"]
    (_, first, before, _), (_, last, after, _) = pictures[0], pictures[-1]
    if first == last:
        return f"There is one epoch only, {first}; its agreement is {100 * after:.1f} %."
    change = 100 * (after - before)
    how = (
        "does not change" if abs(change) < 0.05 else f"{'rises' if change > 0 else 'falls'} by {abs(change):.1f} points"
    )
    return f"From epoch {first} to epoch {last} the agreement {how}, from {100 * before:.1f} % to {100 * after:.1f} %."
