"""Training curves from the history CSVs (one row per epoch; accuracies and mIoU are fractions 0..1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from hw1.report.canvas import GREY, Axes, Figure, blank, colour, grid, save

Histories = Mapping[str, pd.DataFrame]


def classification_curves(histories: Histories, names: Mapping[str, str], path: Path) -> None:
    """Loss and accuracy of each model: training dashed, validation solid; ``names`` are the legend's."""
    figure, (loss, accuracy) = grid(1, 2, (9.6, 3.9), "Problem 1: training of the two classifiers")
    for index, (key, history) in enumerate(histories.items()):
        _train_and_validation(loss, history, "loss", colour(index), names[key])
        _train_and_validation(accuracy, history, "accuracy", colour(index), names[key], scale=100)
    _label(loss, "Loss", "cross entropy (nats)")
    _label(accuracy, "Accuracy", "images classified right (%)")
    _legend_below(figure, accuracy)
    save(figure, path)


def finetuning_curves(histories: Histories, path: Path) -> None:
    """Four panels over the settings: loss and accuracy, on the training and on the validation images."""
    figure, panels = grid(2, 2, (9.6, 6.6), "Problem 2: fine-tuning, one line per setting")
    columns = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
    for panel, column in zip(panels, columns, strict=True):
        for index, (key, history) in enumerate(histories.items()):
            scale = 100 if "accuracy" in column else 1
            _line(panel, history, column, colour(index), f"setting {key}", scale=scale)
    _label(panels[0], "Loss, training images", "cross entropy (nats)")
    _label(panels[1], "Loss, validation images", "cross entropy (nats)")
    _label(panels[2], "Accuracy, training images (augmented)", "images classified right (%)")
    _label(panels[3], "Accuracy, validation images", "images classified right (%)")
    _legend_below(figure, panels[0])
    save(figure, path)


def segmentation_curves(histories: Histories, names: Mapping[str, str], losses: Mapping[str, str], path: Path) -> None:
    """One loss panel per model, as their losses may be different functions, and the mIoU of all in one."""
    figure, (*panels, miou) = grid(1, len(histories) + 1, (11.4, 4.2), "Problem 3: training of the two segmenters")
    for index, (key, history) in enumerate(histories.items()):
        _train_and_validation(panels[index], history, "loss", colour(index), names[key])
        _label(panels[index], f"Loss of {names[key]}", f"{losses[key]} per pixel (nats)")
        _line(miou, history, "val_miou", colour(index), scale=100)
    _label(miou, "Mean IoU, validation tiles", "mean IoU of six classes (%)")
    _legend_below(figure, *panels)  # no curve runs there, whatever way it goes
    save(figure, path)


def start_curves(histories: Histories, names: Mapping[str, str], path: Path) -> None:
    """Loss and accuracy on mini's labels of the networks that were pre-trained for problems 1 and 3; maybe none."""
    figure, (loss, accuracy) = grid(
        1, 2, (9.2, 3.6), "Starting weights of P1 and P3, pre-trained here on mini's labels"
    )
    if not histories:
        for panel in (loss, accuracy):
            blank(panel, "none was pre-trained here")
    for index, (key, history) in enumerate(histories.items()):
        _line(loss, history, "train_loss", colour(index), names[key])
        _line(accuracy, history, "train_accuracy", colour(index), names[key], scale=100)
    if histories:
        _label(loss, "Loss, mini's images", "cross entropy (nats)")
        _label(accuracy, "Accuracy, mini's images", "images classified right (%)")
        _legend_below(figure, loss)
    save(figure, path)


def pretraining_curves(
    supervised: pd.DataFrame,
    byol: pd.DataFrame,
    starts: Mapping[str, Mapping[str, float]],
    projection: int,
    path: Path,
) -> None:
    """Both pre-trainings: losses, learning rates, what their features are worth; BYOL's spread, decay and gradients.

    ``projection`` is the length d of BYOL's projections: normalised vectors that point in all
    directions alike have a standard deviation of 1/sqrt(d) per component, collapsed ones 0. ``starts`` are the
    headline numbers of "supervised" and "BYOL", among them those before the training.
    """
    figure, panels = grid(4, 3, (11.4, 12.4), "Problem 2: the two pre-trainings of the backbone")
    loss, accuracy, rate, byol_loss, spread, gradient, decay, rank, legend, linear, office, mini = panels
    _supervised(loss, accuracy, supervised)
    if not supervised.empty:
        _line(rate, supervised, "lr", colour(0), "supervised", style="--")
    _line(rate, byol, "lr", colour(1), "BYOL")
    _label(rate, "Learning rate", "step size", floor=True)
    _worth_of_features((rank, linear, office, mini), legend, {"supervised": supervised, "BYOL": byol}, starts)
    _line(byol_loss, byol, "loss", colour(1))
    _label(byol_loss, "BYOL: loss", "2 − 2 cos, both directions added", floor=True)
    _spread(spread, byol, projection)
    _line(gradient, byol, "gradient_norm", colour(1))
    _label(gradient, "BYOL: gradients", "norm, mean over steps", floor=True)
    _line(decay, byol, "ema", colour(1))
    _label(decay, "BYOL: decay of the moving average", "share kept of the target")
    decay.ticklabel_format(axis="y", useOffset=False)
    save(figure, path)


def _supervised(loss: Axes, accuracy: Axes, history: pd.DataFrame) -> None:
    if history.empty:
        for panel, title in ((loss, "Supervised: loss"), (accuracy, "Supervised: accuracy")):
            blank(panel, "given weights:\nno training, no curve")
            panel.set_title(title)
        return
    _line(loss, history, "train_loss", colour(0))
    _label(loss, "Supervised: loss", "cross entropy (nats)")
    _line(accuracy, history, "train_accuracy", colour(0), scale=100)
    _label(accuracy, "Supervised: training accuracy", "images classified right (%)")


def _worth_of_features(
    panels: Sequence[Axes], legend: Axes, trained: Histories, starts: Mapping[str, Mapping[str, float]]
) -> None:
    """What tells of the features over both trainings and before them, a panel each; blank where there are no labels."""
    shown = (
        ("rankme", "Pre-training images: effective rank", "RankMe (dimensions)", 1),
        ("linear_office", "Fine-tuning images: linear classifier", "told right (%)", 100),
        ("knn_office", "Fine-tuning images: neighbours", "told right (%)", 100),
        ("knn_mini", "Pre-training images: neighbours", "told right (%)", 100),
    )
    for axes, (column, title, unit, scale) in zip(panels, shown, strict=True):
        for index, (name, history) in enumerate(trained.items()):
            if column in history and not history.empty:
                _line(axes, history, column, colour(index), name, scale=scale)
                start = scale * starts[name][f"{column}_at_start"]
        if axes.lines:
            axes.axhline(start, color=GREY, linestyle="--", label="before training")
            _label(axes, title, unit)
        else:
            blank(axes, "no labels:\nno accuracy")
            axes.set_title(title)
    blank(legend)
    legend.legend(*panels[0].get_legend_handles_labels(), loc="center", title="learning rates and features")


def _spread(axes: Axes, byol: pd.DataFrame, projection: int) -> None:
    """How far the projections spread, beside what it is when they point in all directions alike."""
    _line(axes, byol, "projection_std", colour(1), "measured")
    axes.axhline(projection**-0.5, color=GREY, linestyle="--", label=f"spread evenly: 1/√{projection}")
    _label(axes, "BYOL: spread of the projections", "standard deviation per component", floor=True)
    axes.legend(loc="best")


def _line(
    axes: Axes,
    history: pd.DataFrame,
    column: str,
    stroke: str,
    label: str | None = None,
    style: str = "-",
    scale: float = 1,
) -> None:
    """Epochs are marked one by one while they are few: a line through one point cannot be seen."""
    marker = "o" if len(history) <= 20 else ""
    face = "white" if style == "--" else stroke
    line = {"color": stroke, "marker": marker, "markerfacecolor": face}
    axes.plot(history["epoch"], scale * history[column], style, label=label, **line)


def _train_and_validation(
    axes: Axes, history: pd.DataFrame, quantity: str, stroke: str, name: str, scale: float = 1
) -> None:
    _line(axes, history, f"train_{quantity}", stroke, f"{name}, training", style="--", scale=scale)
    _line(axes, history, f"val_{quantity}", stroke, f"{name}, validation", scale=scale)


def _label(axes: Axes, title: str, unit: str, floor: bool = False) -> None:
    axes.set(title=title, xlabel="epoch", ylabel=unit)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if floor:
        axes.set_ylim(bottom=0)


def _legend_below(figure: Figure, *panels: Axes) -> None:
    """The legend of some panels, below all of them."""
    handles = [handle for axes in panels for handle in axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
