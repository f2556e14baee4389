"""Sentences about the results, each made from the numbers it speaks of.

A sentence claims a difference only where its test resolves it. Accuracies and IoUs are fractions 0..1; the
sentences give percent and percentage points.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hw1.report.evidence import Pair, Pairs, Statistics, between, compare_published, published_settings
from hw1.report.names import START_PHRASES, TRAINING_PHRASES
from hw1.run.parameters.params import Setting
from hw1.statistics import published
from hw1.statistics.comparison import MAJORITY
from hw1.statistics.intervals import wilson_interval
from hw1.statistics.neighbours import neighbour_agreement

# The verdicts on the draw of data and the seeds that the quick preset was set up on, 2026-11-27 (docs/findings.md).
IN_SET_UP = {
    "p1_b_above_a": "holds",
    "p2_a_above_e": "holds",
    "p2_b_best": "holds",
    "p2_c_below_b_and_d": "does not hold",
    "p2_c_above_a": "not resolved",
    "p2_frozen_below_full": "holds",
    "p2_byol_frozen": "holds",
    "p3_b_above_a": "holds",
}


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def points_text(points: float) -> str:
    """How the first of two stands to the second."""
    if abs(points) < 0.05:
        return "level with"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"


def count_text(count: float) -> str:
    """How many images or seeds; infinitely many where no number is enough."""
    return "∞" if math.isinf(count) else f"{count:,.0f}"


def interval_text(interval: Sequence[float]) -> str:
    """Bounds to a tenth, without a minus before zero."""
    return " to ".join(f"{round(bound, 1) + 0.0:.1f}" for bound in interval)


def evidence_text(pair: Pair) -> str:
    """Verdict, p-value and interval of a difference."""
    interval = "" if pair.interval is None else f", 95 % interval {interval_text(pair.interval)}"
    return f"{pair.verdict} ({p_text(pair.p)}{interval})"


def setting_sentences(settings: Mapping[str, Setting], statistics: Statistics) -> dict[str, list[str]]:
    """Sentences for each pair of settings that differ in one thing only, by what that thing is."""
    themes: dict[str, list[str]] = {"The starting weights": [], "The trained part": []}
    for pair in statistics.pairs.get(("p2", "accuracy"), {}).values():
        pair = pair if pair.points >= 0 else pair.turned(pair.second)
        high, low = pair.first, pair.second
        one, two = settings[high], settings[low]
        if one.train == two.train and one.backbone != two.backbone:
            theme = "The starting weights"
            started = [START_PHRASES[setting.backbone] for setting in (one, two)]
            text = f"When {TRAINING_PHRASES[one.train]}, {started[0]} ({high}) is {{}} {started[1]} ({low})"
        elif one.backbone == two.backbone and one.train != two.train:
            theme = "The trained part"
            training = [TRAINING_PHRASES[setting.train] for setting in (one, two)]
            text = f"From {START_PHRASES[one.backbone]}, {training[0]} ({high}) is {{}} {training[1]} ({low})"
        else:
            continue
        ours = f"{text.format(points_text(pair.points))}: {evidence_text(pair)}."
        seeds = _seeds_sentence(between(statistics.seed_pairs.get("p2", {}), high, low))
        themes[theme].append(" ".join(filter(None, (ours, seeds, _report_sentence(high, low, settings)))))
    return {theme: sentences for theme, sentences in themes.items() if sentences}


def _seeds_sentence(pair: Pair | None) -> str:
    if pair is None:
        return ""
    return f"In the mean over seeds {pair.first} is {points_text(pair.points)} {pair.second}: {evidence_text(pair)}."


def _report_sentence(high: str, low: str, settings: Mapping[str, Setting]) -> str:
    if not all(as_published(key, settings[key]) for key in (high, low)):
        return "The report has no such pair."
    pair = between(published_settings(), high, low)
    return f"In the report {high} is {points_text(pair.points)} {low}: {pair.verdict}."


def set_up_sentence(claims: Sequence[Mapping[str, str]]) -> str:
    """Which claims of order came out otherwise in set-up than here."""
    other = [
        f"{claim['problem'].upper()} {claim['reading']}: {before} there, {claim['here']} here"
        for claim in claims
        if (before := IN_SET_UP.get(claim["claim"], claim["here"])) != claim["here"]
    ]
    where = "In set-up (synthetic.seed 2023, seeds 1 to 5)"
    return (
        f"{where} claims of order came out otherwise: {'; '.join(other)}."
        if other
        else f"{where} every one was as here."
    )


def as_published(key: str, setting: Setting) -> bool:
    """Whether the report's setting of this name is the same experiment."""
    return published.P2_SETTINGS.get(key) == setting.meaning


def ranking_sentences(
    settings: Mapping[str, Setting], accuracy: Mapping[str, float], statistics: Statistics, chance: float
) -> list[str]:
    """The order of the settings, how much of it is resolved, and how it agrees with the report's."""
    (ours, over_seeds), report = statistics.of_settings(), published_settings()
    order = sorted(accuracy, key=accuracy.get, reverse=True)
    listed = ", ".join(f"{key} {100 * accuracy[key]:.1f} %" for key in order)
    resolved = sum(pair.resolved for pair in ours.values())
    where = "are told apart over seeds" if over_seeds else "are seen in these weights"
    sentences = [f"From the highest to the lowest: {listed}. Of {len(ours)} pairs {resolved} {where}."]
    near = [key for key in order if statistics.intervals["p2", key, "accuracy"][0] <= chance]
    at_chance = f"Not told from chance: {', '.join(near)}" if near else "Every setting's interval lies above chance"
    sentences.append(f"{at_chance} ({100 * chance:.1f} %).")
    shared = [pair for pair in ours if pair in report and all(as_published(key, settings[key]) for key in pair)]
    both = [pair for pair in shared if ours[pair].resolved and report[pair].resolved]
    same = sum((ours[pair].points > 0) == (report[pair].points > 0) for pair in both)
    only_report = sum(report[pair].resolved and not ours[pair].resolved for pair in shared)
    only_ours = sum(ours[pair].resolved and not report[pair].resolved for pair in shared)
    images = published.COURSE_DATA["office"]["validation"]
    sentences.append(
        f"Of the report's {len(report)} pairs its own {images} images resolve "
        f"{sum(pair.resolved for pair in report.values())}, as far as its printed accuracies tell. Of these "
        f"{len(both)} {where} as well, {same} in the same direction; {only_report} are not, and {only_ours} only here."
    )
    return sentences


def classifier_sentence(pairs: Pairs) -> str:
    """Problem 1: model B against model A, here and in the report."""
    pair = between(pairs, "B", "A")
    report = between(compare_published(published.P1_ACCURACY, published.COURSE_DATA["p1"]["validation"]), "B", "A")
    return (
        f"B is {points_text(pair.points)} A: {evidence_text(pair)}. "
        f"In the report B is {points_text(report.points)} A: {report.verdict}."
    )


def segmentation_sentences(
    metrics: Mapping[str, Any], statistics: Statistics, majority_class: str, majority_miou: float
) -> list[str]:
    """Problem 3: DeepLabv3 against FCN32s in the mean and by class."""
    iou = metrics["iou"]
    report = published.P3_MIOU["B"] - published.P3_MIOU["A"]
    pair = between(statistics.pairs["p3", "miou"], "B", "A")
    sentences = [
        f"The mean IoU of B is {points_text(pair.points)} that of A: {evidence_text(pair)}. In the report it is "
        f"{points_text(report)} it; without each tile's counts there is no interval for that."
    ]
    by_class = {name: between(statistics.pairs.get(("p3", f"iou.{name}"), {}), "B", "A") for name in iou}
    compared = {name: pair for name, pair in by_class.items() if pair is not None}
    for model, sign in (("B", 1), ("A", -1)):
        ahead = [
            f"{name} (by {abs(pair.points):.1f} points)"
            for name, pair in compared.items()
            if pair.resolved and sign * pair.points > 0
        ]
        sentences.append(
            f"In these weights {model} has the higher IoU in {', '.join(ahead) if ahead else 'no class told apart'}."
        )
    open_ = [name for name, pair in compared.items() if not pair.resolved]
    if open_:
        tiles = compared[open_[0]].images
        left = f"Not told apart on {tiles:,} tiles, corrected for {len(compared)} classes"
        sentences.append(f"{left}: {', '.join(open_)}.")
    absent = [name for name, values in iou.items() if None in values.values()]
    if absent:
        sentences.append(f"Without an IoU, as neither truth nor prediction holds it: {', '.join(absent)}.")
    above = [
        f"{model} is {points_text(pair.points)} it: {evidence_text(pair)}"
        for model in "AB"
        if (pair := between(statistics.pairs["p3", "miou"], model, MAJORITY))
    ]
    everywhere = f'Naming every pixel "{majority_class}" would give a mean IoU of {100 * majority_miou:.1f} %'
    sentences.append(f"{everywhere}. {'; '.join(above)}.")
    return sentences


def byol_sentence(numbers: Mapping[str, float], images: int, epochs: int) -> str:
    """Whether BYOL's projections collapsed, and what its features are worth beside those it started from.

    ``images`` are the validation images of the fine-tuning data.
    """
    collapsed = int(numbers["collapsed_epochs"])
    said = f"<strong>collapsed</strong> in {collapsed} of {epochs} epochs" if collapsed else "did not collapse"
    now, start = (numbers[name] for name in ("knn_office", "knn_office_at_start"))
    of_now, of_start = (
        interval_text([100 * bound for bound in wilson_interval(share, images)]) for share in (now, start)
    )
    return (
        f"The projections {said}; in the last epoch their spread is {numbers['spread']:.2f} of what it is evenly. By "
        f"their nearest neighbours {100 * now:.1f} % of the fine-tuning data's {images:,} validation images are told "
        f"right (95 % interval {of_now}), by those of the random start {100 * start:.1f} % ({of_start})."
    )


def feature_rows(byol: Mapping[str, float], supervised: Mapping[str, float]) -> list[tuple[str, list[str]]]:
    """What the features are worth: (measure, its value before training, by BYOL, by labels); without what has none."""
    shown = (
        ("linear_office", "fine-tuning images, linear classifier (%)", 100),
        ("knn_office", "fine-tuning images, nearest neighbours (%)", 100),
        ("knn_mini", "pre-training images, nearest neighbours (%)", 100),
        ("rankme", "pre-training images, effective rank", 1),
    )
    values = {name: (byol.get(f"{name}_at_start"), byol.get(name), supervised.get(name)) for name, *_ in shown}
    return [
        (title, [f"{scale * value:.1f}" for value in values[name]])
        for name, title, scale in shown
        if None not in values[name]
    ]


def projection_rows(projections: pd.DataFrame) -> list[tuple[str, int, float, float]]:
    """(method, epoch, neighbour agreement, agreement by chance) of each picture, PCA first; fractions."""
    rows = []
    for (method, epoch), points in projections.groupby(["method", "epoch"]):
        agreement = neighbour_agreement(points[["x", "y"]].to_numpy(float), points["label"].to_numpy())
        rows.append((str(method), int(epoch), *agreement))
    return rows


def tsne_sentence(rows: list[tuple[str, int, float, float]]) -> str:
    """The agreement in the first and the last of the t-SNE pictures."""
    pictures = [row for row in rows if row[0] == "tsne"]
    (_, first, before, _), (_, last, after, _) = pictures[0], pictures[-1]
    if first == last:
        return f"There is one epoch only, {first}; its agreement is {100 * after:.1f} %."
    return f"The agreement is {100 * before:.1f} % after epoch {first} and {100 * after:.1f} % after epoch {last}."
