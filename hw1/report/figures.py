"""Scatter plots, bars, confusion matrices and masks: arrays and tables in, one PNG file out."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hw1.data.classes import LAND_COVER, MASK_COLOURS
from hw1.report.canvas import (
    ABSENT,
    BLUES,
    COLOURS,
    DISTINCT,
    GREY,
    INK,
    Axes,
    Figure,
    blank,
    colour,
    grid,
    marker,
    save,
    swatches,
)
from hw1.statistics import published
from hw1.statistics.evidence import Statistics, between

Interval = tuple[float, float]


def pca_scatter(points: pd.DataFrame, path: Path) -> None:
    """``points`` has x, y, label: the first two principal components of the features."""
    figure, (axes,) = grid(1, 1, (7.2, 5.4))
    _scatter(axes, points)
    axes.set(title="Problem 1: PCA of model A's features, validation images")
    axes.set_xlabel("first principal component (features' unit)")
    axes.set_ylabel("second principal component (features' unit)")
    _class_legend(figure, axes, points["label"])
    save(figure, path)


def tsne_scatter(points: pd.DataFrame, path: Path) -> None:
    """``points`` has epoch, x, y, label: one panel per epoch, in order."""
    epochs = sorted(points["epoch"].unique())
    title = "Problem 1: t-SNE of model A's features, validation images"
    figure, panels = grid(1, len(epochs), (4.0 * len(epochs), 4.6), title)
    for axes, epoch in zip(panels, epochs, strict=True):
        _scatter(axes, points[points["epoch"] == epoch])
        axes.set(title=f"after epoch {epoch}", xlabel="t-SNE 1 (no unit)")
    panels[0].set_ylabel("t-SNE 2 (no unit)")
    _class_legend(figure, panels[-1], points["label"])
    save(figure, path)


def _scatter(axes: Axes, points: pd.DataFrame) -> None:
    classes = np.unique(points["label"])
    size = 16 if len(points) <= 1000 else 7
    if not points[["x", "y"]].to_numpy().any():
        axes.text(0.5, 0.6, "one point: the features do not differ", transform=axes.transAxes, ha="center")
    if len(classes) > DISTINCT:
        style = {"c": points["label"], "cmap": "turbo", "vmin": 0, "vmax": classes[-1]}
        axes.scatter(points["x"], points["y"], s=size, alpha=0.8, linewidths=0, **style)
        return
    for index, label in enumerate(classes):
        chosen = points[points["label"] == label]
        style = {"color": colour(index), "marker": marker(index)}
        axes.scatter(chosen["x"], chosen["y"], s=size, alpha=0.8, linewidths=0, label=str(label), **style)


def _class_legend(figure: Figure, axes: Axes, labels: pd.Series) -> None:
    if labels.nunique() > DISTINCT:
        figure.colorbar(axes.collections[0], ax=figure.axes, label="class", pad=0.01)
        return
    handles, names = axes.get_legend_handles_labels()
    style = {"loc": "outside lower center", "ncols": min(len(names), 14), "markerscale": 1.4, "handlelength": 1}
    figure.legend(handles, names, title="class", **style)


def setting_bars(
    accuracy: Mapping[str, float],
    statistics: Statistics,
    captions: Mapping[str, str],
    facts: Mapping[str, Any],
    path: Path,
) -> None:
    """Final accuracy (fractions) of each setting beside the report's, with ours' 95 % intervals; ``facts`` are the
    evaluation's summary.
    """
    images, chance = facts["validation_images"], facts["chance"]
    figure, (axes,) = grid(1, 1, (8.6, 4.6))
    for position, (key, value) in enumerate(accuracy.items()):
        low, high = statistics.intervals["p2", key, "accuracy"]
        reach = _whisker(value, (low, high))
        given = published.FIGURES["p2"].get(key)
        left = position - 0.2 if given is not None else position
        axes.bar(left, 100 * value, 0.38, color=COLOURS[0], yerr=reach, ecolor=INK, capsize=3)
        axes.annotate(f"{100 * value:.1f}", (left, 100 * high), (0, 3), textcoords="offset points", ha="center")
        if given is not None:
            axes.bar(position + 0.2, given, 0.38, color=ABSENT, hatch="///", edgecolor=GREY)
            axes.annotate(f"{given:g}", (position + 0.2, given), (0, 3), textcoords="offset points", ha="center")
    line = axes.axhline(100 * chance, color=COLOURS[1], linestyle="--", label=f"chance, {100 * chance:.1f} %")
    axes.set_xticks(range(len(accuracy)), [f"{key}\n{captions[key]}" for key in accuracy])
    axes.set(title=f"Problem 2: accuracy of each setting, {images} validation images", ylabel="accuracy (%)")
    axes.set_ylim(0, 105)
    axes.grid(axis="x", visible=False)
    ours, report = swatches((COLOURS[0], ABSENT), ("ours, 95 % interval", "the report (its own data)"))
    report.set_hatch("///")
    figure.legend(handles=[ours, report, line], loc="outside lower center", ncols=3)
    save(figure, path)


def groups(order: Sequence[str], resolved: Callable[[str, str], bool]) -> list[tuple[str, ...]]:
    """The longest runs in ``order`` of two or more models of which no pair is resolved (after Demšar 2006, JMLR 7)."""
    runs = [tuple(order[start:end]) for start, end in combinations(range(len(order) + 1), 2) if end > start + 1]
    alike = [run for run in runs if not any(resolved(*pair) for pair in combinations(run, 2))]
    return [run for run in alike if not any(set(run) < set(other) for other in alike)]


def setting_ranking(
    accuracy: Mapping[str, float], statistics: Statistics, captions: Mapping[str, str], images: int, path: Path
) -> None:
    """The settings of problem 2 by their mean over seeds, where there are enough, else by the ``accuracy`` of the one
    training shown.
    """
    pairs, over_seeds = statistics.of_settings()
    if over_seeds:
        rows = [row for row in statistics.seeds if row["problem"] == "p2"]
        numbers = {row["model"]: (row["mean"], row["low"], row["high"]) for row in rows}
        source, among = f"mean of {rows[0]['seeds']} seeds", ""
    else:
        numbers = {key: (value, *statistics.intervals["p2", key, "accuracy"]) for key, value in accuracy.items()}
        source, among = "one training each", " in these weights"
    order = sorted(numbers, key=lambda key: numbers[key][0], reverse=True)
    figure, (axes,) = grid(1, 1, (8.6, 0.62 * len(order) + 1.6))
    for row, key in enumerate(order):
        value, low, high = (100 * number for number in numbers[key])
        axes.plot([low, high], [row, row], color=INK, linewidth=1.2)
        axes.plot([value], [row], "o", color=COLOURS[0], markersize=7)
        axes.annotate(f"{value:.1f}", (value, row), (0, 8), textcoords="offset points", ha="center")
    rightmost = max(100 * high for _, _, high in numbers.values())
    for index, run in enumerate(groups(order, lambda one, two: between(pairs, one, two).resolved)):
        rows, x = [order.index(key) for key in run], rightmost + 2 + 1.6 * index
        axes.plot([x, x], [min(rows) - 0.15, max(rows) + 0.15], color=COLOURS[1], linewidth=5, solid_capstyle="round")
    axes.set_yticks(range(len(order)), [f"{key}  {' '.join(captions[key].split())}" for key in order])
    axes.set_ylim(len(order) - 0.5, -0.7)
    axes.grid(axis="y", visible=False)
    axes.set(title=f"Problem 2: {source}, {images} validation images", xlabel="accuracy (%)")
    caption = f"orange: not told apart{among}; lines: 95 % intervals"
    axes.text(0.99, 0.03, caption, transform=axes.transAxes, ha="right", color=GREY)
    save(figure, path)


def iou_bars(
    metrics: Mapping[str, Any],
    statistics: Statistics,
    names: Mapping[str, str],
    facts: Mapping[str, Any],
    path: Path,
) -> None:
    """IoU (fractions) per class and model, and the mean, with their 95 % intervals; ``facts`` are the evaluation's
    summary. A class with neither truth nor prediction has IoU None and gets the word "absent" for a bar.
    """
    iou, miou = metrics["iou"], metrics["miou"]
    groups, dotted = ["mean", *iou], {"color": INK, "linestyle": (0, (1, 0.8)), "linewidth": 2.4}
    figure, (axes,) = grid(1, 1, (9.6, 4.4))
    for index, key in enumerate(miou):
        for position, group in enumerate(groups):
            value = miou[key] if group == "mean" else iou[group][key]
            interval = statistics.intervals.get(("p3", key, "miou" if group == "mean" else f"iou.{group}"))
            _iou_bar(axes, position + (index - 0.5) * 0.38, value, interval, COLOURS[index])
        ends = [-0.19 + (index - 0.5) * 0.38 + offset for offset in (0, 0.38)]
        axes.plot(ends, [published.FIGURES["p3"][key]] * 2, **dotted)
    line = {"color": GREY, "linestyle": "--", "label": f'"{facts["majority_class"]}" everywhere: mean'}
    (floor,) = axes.plot([-0.5, 0.5], [100 * facts["majority_miou"]] * 2, **line)
    (report,) = axes.plot([], [], label="the report: mean", **dotted)
    axes.axvline(0.5, color="#9AA5B1", linewidth=0.8)
    axes.set_xticks(range(len(groups)), groups)
    axes.set(title="Problem 3: IoU by class, validation tiles", ylabel="IoU (%)", ylim=(0, 105))
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.grid(axis="x", visible=False)
    bars = swatches(COLOURS[: len(miou)], [names[key] for key in miou])
    figure.legend(handles=[*bars, report, floor], loc="outside lower center", ncols=4)
    save(figure, path)


def _iou_bar(axes: Axes, position: float, value: float | None, interval: Interval | None, face: str) -> None:
    if value is None or interval is None:
        axes.annotate("absent", (position, 2), rotation=90, ha="center", va="bottom", color=GREY)
        return
    axes.bar(position, 100 * value, 0.36, color=face, yerr=_whisker(value, interval), ecolor=INK, capsize=2)
    label, top = f"{100 * value:.0f}", 100 * interval[1]
    axes.annotate(label, (position, top), (0, 2), textcoords="offset points", ha="center", fontsize=8)


def reliability(
    bins: Mapping[str, Sequence[Sequence[float]]], titles: Mapping[str, str], title: str, path: Path
) -> None:
    """One panel per classifier: over the mean confidence of each bin the share of its images that is right, in percent.

    ``bins`` are rows of number of images, mean confidence, share right; a point's area is its share of the images.
    """
    columns = min(len(bins), 5)
    rows = -(-len(bins) // columns)
    figure, panels = grid(rows, columns, (max(7.2, 2.9 * columns), 3.2 * rows + 0.4), title)
    for axes in panels[len(bins) :]:
        axes.set_axis_off()
    for axes, (key, points) in zip(panels, bins.items(), strict=False):
        counts, sure, right = np.array(points, float).T
        axes.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1)
        axes.plot(100 * sure, 100 * right, color=COLOURS[0], linewidth=1)
        axes.scatter(100 * sure, 100 * right, s=8 + 300 * counts / counts.sum(), color=COLOURS[0], linewidths=0)
        axes.set(title=titles[key], xlim=(0, 103), ylim=(-3, 103), xlabel="confidence (%)")
    for axes in panels[::columns]:
        axes.set_ylabel("right (%)")
    save(figure, path)


def mistakes(
    images: Mapping[str, Sequence[np.ndarray]],
    said: Mapping[str, Sequence[Mapping]],
    titles: Mapping[str, str],
    title: str,
    path: Path,
) -> None:
    """A row per classifier: the images (S, S, 3) uint8 of its surest mistakes, the surest first."""
    columns = max(8, *(len(row) for row in images.values()))
    figure, panels = grid(len(images), columns, (1.25 * columns + 1, 1.75 * len(images) + 0.4), title)
    for row, (key, pictures) in enumerate(images.items()):
        for axes in panels[row * columns : (row + 1) * columns]:
            axes.set_axis_off()
        if not pictures:
            blank(panels[row * columns], "no mistake")
        for axes, picture, what in zip(panels[row * columns :], pictures, said[key], strict=False):
            axes.imshow(picture)
            text = f"{what['prediction']}, is {what['label']}\n{100 * what['confidence']:.0f} %"
            axes.set_title(text, fontsize=7.5, fontweight="normal")
        first = panels[row * columns]
        style = {"transform": first.transAxes, "rotation": 90, "ha": "right", "va": "center", "fontsize": 8}
        first.text(-0.12, 0.5, titles[key], **style)
    save(figure, path, palette=False)


def _whisker(value: float, interval: Interval) -> list[list[float]]:
    """Distances of an interval's ends below and above a value, in percent, as matplotlib takes them."""
    low, high = interval
    return [[max(0.0, 100 * (value - low))], [max(0.0, 100 * (high - value))]]


def confusion_matrices(
    counts: Mapping[str, np.ndarray], titles: Mapping[str, str], names: Sequence[str] | None, title: str, path: Path
) -> None:
    """One panel per (K, K) matrix of counts, rows truth, columns prediction, each row divided by its sum.

    ``names`` label the ticks; None numbers the classes. Rows without any truth are grey.
    """
    columns = min(len(counts), 3)
    rows = -(-len(counts) // columns)
    side = 4.4 if columns < 3 else 3.5
    figure, panels = grid(rows, columns, (side * columns + 0.8, (side + 0.4) * rows + 0.3), title)
    for axes, (key, matrix) in zip(panels, counts.items(), strict=False):
        image = _confusion(axes, matrix, names, numbers=side > 4 and len(matrix) <= 10)
        axes.set(title=titles[key], xlabel="predicted class", ylabel="true class")
    for axes in panels[len(counts) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=panels, label="share of the true class (%)", shrink=0.8)
    save(figure, path)


def _confusion(axes: Axes, matrix: np.ndarray, names: Sequence[str] | None, numbers: bool):
    totals = matrix.sum(axis=1, keepdims=True)
    share = np.divide(100.0 * matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)
    image = axes.imshow(share, cmap=BLUES, vmin=0, vmax=100)
    axes.grid(visible=False)
    if names is not None:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
    elif len(matrix) <= 12:
        axes.set_xticks(range(len(matrix)))
        axes.set_yticks(range(len(matrix)))
    if numbers:
        for row, column in zip(*np.nonzero(share >= 0.5), strict=True):
            value = share[row, column]
            ink = "white" if value > 55 else INK
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7.5, color=ink)
    return image


def mask_table(
    images: Mapping[str, np.ndarray],
    truths: Mapping[str, np.ndarray],
    predictions: Mapping[tuple[str, int], np.ndarray],
    title: str,
    path: Path,
) -> None:
    """Rows: tile ids; columns: image (H, W, 3) uint8, truth and the prediction after each epoch (H, W) class index.

    ``predictions`` is keyed by (id, epoch).
    """
    epochs = sorted({epoch for _, epoch in predictions})
    columns = 2 + len(epochs)
    figure, panels = grid(len(images), columns, (1.7 * columns, 1.7 * len(images) + 0.9), title)
    for row, key in enumerate(images):
        cells = [images[key], MASK_COLOURS[truths[key]], *(MASK_COLOURS[predictions[key, epoch]] for epoch in epochs)]
        for column, cell in enumerate(cells):
            axes = panels[row * columns + column]
            axes.imshow(cell, interpolation="nearest" if column else "antialiased")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(True)
        panels[row * columns].set_ylabel(key, fontsize=10)
    for axes, head in zip(panels, ("image", "truth", *(f"epoch {epoch}" for epoch in epochs)), strict=False):
        axes.set_title(head)
    legend = swatches(MASK_COLOURS / 255, LAND_COVER)
    figure.legend(handles=legend, loc="outside lower center", ncols=len(legend), columnspacing=1.2)
    save(figure, path, palette=False)
