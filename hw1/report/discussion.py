"""Sentences about the results, each made from the numbers it speaks of.

A sentence claims a difference only where its test resolves it. Accuracies and IoUs are fractions 0..1; the
sentences give percent and percentage points.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hw1.report.names import START_PHRASES, TRAINING_PHRASES
from hw1.run.parameters.params import Setting
from hw1.statistics import published
from hw1.statistics.claims import same_label
from hw1.statistics.comparison import MAJORITY
from hw1.statistics.evidence import Pair, Statistics, between, compare_published
from hw1.statistics.intervals import wilson_interval

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
    """Words for the first of two models beside the second."""
    if abs(points) < 0.05:
        return "level with"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"


def count_text(count: float) -> str:
    """A number of images or seeds; infinite where no number is enough."""
    return "∞" if math.isinf(count) else f"{count:,.0f}"


def interval_text(interval: Sequence[float]) -> str:
    """Bounds to a tenth, without a minus before zero."""
    return " to ".join(f"{round(bound, 1) + 0.0:.1f}" for bound in interval)


def evidence_text(pair: Pair) -> str:
    """Verdict, p-value and interval of a difference."""
    interval = "" if pair.interval is None else f", 95 % interval {interval_text(pair.interval)}"
    return f"{pair.verdict} ({p_text(pair.p)}{interval})"


def setting_sentences(settings: Mapping[str, Setting], statistics: Statistics) -> dict[str, list[str]]:
    """Sentences on each pair of settings that differ in one thing only, by what that thing is."""
    themes: dict[str, list[str]] = {"The starting weights": [], "The trained part": []}
    for pair in statistics.pairs.get(("p2", "accuracy"), {}).values():
        pair = pair if pair.points >= 0 else pair.turned(pair.second)
        high, low = pair.first, pair.second
        one, two = settings[high], settings[low]
        if (one.train == two.train) == (one.backbone == two.backbone):
            continue
        if one.train == two.train:
            theme, where, words = "The starting weights", f"When {TRAINING_PHRASES[one.train]}", START_PHRASES
            first, second = words[one.backbone], words[two.backbone]
        else:
            theme, where, words = "The trained part", f"From {START_PHRASES[one.backbone]}", TRAINING_PHRASES
            first, second = words[one.train], words[two.train]
        text = f"{where}, {first} ({high}) is {points_text(pair.points)} {second} ({low}): {evidence_text(pair)}."
        if over_seeds := between(statistics.seed_pairs.get("p2", {}), high, low):
            said = f"{points_text(over_seeds.points)} {low}: {evidence_text(over_seeds)}"
            text += f" In the mean over seeds {high} is {said}."
        if as_published(high, one) and as_published(low, two):
            report = between(compare_published("p2"), high, low)
            text += f" In the report {high} is {points_text(report.points)} {low}: {report.verdict}."
        else:
            text += " The report has no such pair."
        themes[theme].append(text)
    return {theme: sentences for theme, sentences in themes.items() if sentences}


def set_up_sentence(claims: Sequence[Mapping[str, str]]) -> str:
    """Claims of order that came out otherwise in set-up than here."""
    other = [
        f"{claim['problem'].upper()} {claim['reading']}: {before} there, {claim['here']} here"
        for claim in claims
        if (before := IN_SET_UP.get(claim["claim"], claim["here"])) != claim["here"]
    ]
    outcome = f"claims of order came out otherwise: {'; '.join(other)}" if other else "every one was as here"
    return f"In set-up (synthetic.seed 2023, seeds 1 to 5) {outcome}."


def as_published(key: str, setting: Setting) -> bool:
    """Tell whether the report's setting of this name is the same experiment."""
    return published.P2_SETTINGS.get(key) == setting.meaning


def ranking_sentences(
    settings: Mapping[str, Setting], accuracy: Mapping[str, float], statistics: Statistics, chance: float
) -> list[str]:
    """The order of the settings, how much of it is resolved, and how it agrees with the report's."""
    (ours, over_seeds), report = statistics.of_settings(), compare_published("p2")
    order = sorted(accuracy, key=accuracy.get, reverse=True)
    listed = ", ".join(f"{key} {100 * accuracy[key]:.1f} %" for key in order)
    resolved = sum(pair.resolved for pair in ours.values())
    where = "are told apart over seeds" if over_seeds else "are seen in these weights"
    sentences = [f"From the highest to the lowest: {listed}. Of {len(ours)} pairs {resolved} {where}."]
    near = [key for key in order if statistics.intervals["p2", key, "accuracy"][0] <= chance]
    at_chance = f"Not told from chance: {', '.join(near)}" if near else "Every setting's interval lies above chance"
    sentences.append(f"{at_chance} ({100 * chance:.1f} %).")
    shared = [pair for pair in ours if pair in report and all(as_published(key, settings[key]) for key in pair)]
    in_both = [pair for pair in shared if ours[pair].resolved and report[pair].resolved]
    same = sum((ours[pair].points > 0) == (report[pair].points > 0) for pair in in_both)
    only_report = sum(report[pair].resolved and not ours[pair].resolved for pair in shared)
    only_ours = sum(ours[pair].resolved and not report[pair].resolved for pair in shared)
    images = published.COURSE_DATA["office"]["validation"]
    sentences.append(
        f"Of the report's {len(report)} pairs its own {images} images resolve "
        f"{sum(pair.resolved for pair in report.values())}, as far as its printed accuracies tell. Of these "
        f"{len(in_both)} {where} as well, {same} in the same direction; {only_report} are not, and {only_ours} only "
        "here."
    )
    return sentences


def classifier_sentence(statistics: Statistics) -> str:
    """Problem 1: model B against model A, here and in the report."""
    pair = between(statistics.pairs["p1", "accuracy"], "B", "A")
    report = between(compare_published("p1"), "B", "A")
    return (
        f"B is {points_text(pair.points)} A: {evidence_text(pair)}. "
        f"In the report B is {points_text(report.points)} A: {report.verdict}."
    )


def segmentation_sentences(metrics: Mapping[str, Any], statistics: Statistics, facts: Mapping[str, Any]) -> list[str]:
    """Problem 3: DeepLabv3 against FCN32s in the mean and by class; ``facts`` are the evaluation's summary."""
    iou, printed = metrics["iou"], published.FIGURES["p3"]
    by_mean = statistics.pairs["p3", "miou"]
    pair = between(by_mean, "B", "A")
    sentences = [
        f"The mean IoU of B is {points_text(pair.points)} that of A: {evidence_text(pair)}. In the report it is "
        f"{points_text(printed['B'] - printed['A'])} it; without each tile's counts there is no interval for that."
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
    if unresolved := [name for name, pair in compared.items() if not pair.resolved]:
        tiles = compared[unresolved[0]].images
        scope = f"Not told apart on {tiles:,} tiles, corrected for {len(compared)} classes"
        sentences.append(f"{scope}: {', '.join(unresolved)}.")
    if absent := [name for name, values in iou.items() if None in values.values()]:
        sentences.append(f"Without an IoU, as neither truth nor prediction holds it: {', '.join(absent)}.")
    above = [
        f"{model} is {points_text(pair.points)} it: {evidence_text(pair)}"
        for model in "AB"
        if (pair := between(by_mean, model, MAJORITY))
    ]
    everywhere = f'"{facts["majority_class"]}" would give a mean IoU of {100 * facts["majority_miou"]:.1f} %'
    return [*sentences, f"Naming every pixel {everywhere}. {'; '.join(above)}."]


def byol_sentence(numbers: Mapping[str, float], images: int, epochs: int) -> str:
    """BYOL: the collapse of its projections or none, and the worth of its features beside those it started from.

    ``images`` are the validation images of the fine-tuning data.
    """
    collapsed = int(numbers["collapsed_epochs"])
    said = f"<strong>collapsed</strong> in {collapsed} of {epochs} epochs" if collapsed else "did not collapse"
    now, start = (numbers[name] for name in ("knn_office", "knn_office_at_start"))
    spans = [interval_text([100 * bound for bound in wilson_interval(share, images)]) for share in (now, start)]
    return (
        f"The projections {said}; in the last epoch their spread is {numbers['spread']:.2f} of what it is evenly. By "
        f"their nearest neighbours {100 * now:.1f} % of the fine-tuning data's {images:,} validation images are told "
        f"right (95 % interval {spans[0]}), by those of the random start {100 * start:.1f} % ({spans[1]})."
    )


def feature_rows(byol: Mapping[str, float], supervised: Mapping[str, float]) -> list[tuple[str, list[str]]]:
    """Worth of the features: (measure, [before training, by BYOL, by labels]) of each measure that has all three."""
    shown = (
        ("linear_office", "fine-tuning images, linear classifier (%)", 100),
        ("knn_office", "fine-tuning images, nearest neighbours (%)", 100),
        ("knn_mini", "pre-training images, nearest neighbours (%)", 100),
        ("rankme", "pre-training images, effective rank", 1),
    )
    rows = []
    for name, title, scale in shown:
        values = (byol.get(f"{name}_at_start"), byol.get(name), supervised.get(name))
        if None not in values:
            rows.append((title, [f"{scale * value:.1f}" for value in values]))
    return rows


def projection_rows(projections: pd.DataFrame) -> list[tuple[str, int, float, float]]:
    """(method, epoch, agreement of neighbours, by chance) of each picture, PCA first; fractions.

    "By chance" is the value expected if the same labels were dealt to the points at random.
    """
    rows = []
    for (method, epoch), points in projections.groupby(["method", "epoch"]):
        labels, count = points["label"].to_numpy(), len(points)
        agreement = float(same_label(points[["x", "y"]].to_numpy(float), labels).mean())
        sizes = np.unique(labels, return_counts=True)[1]
        rows.append((method, int(epoch), agreement, float((sizes * (sizes - 1)).sum() / (count * (count - 1)))))
    return rows


def tsne_sentence(rows: list[tuple[str, int, float, float]]) -> str:
    """The agreement in the first and the last of the t-SNE pictures."""
    pictures = [row for row in rows if row[0] == "tsne"]
    (_, first, before, _), (_, last, after, _) = pictures[0], pictures[-1]
    if first == last:
        return f"There is one epoch only, {first}; its agreement is {100 * after:.1f} %."
    return f"The agreement is {100 * before:.1f} % after epoch {first} and {100 * after:.1f} % after epoch {last}."
