"""Training curves from the history CSVs (one row per epoch; accuracies and mIoU are fractions 0..1), and which pictures
belong to which history."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from hw1.report.canvas import GREY, Axes, Figure, blank, colour, grid, save
from hw1.report.settings import pretrained
from hw1.run.parameters.params import Params

Histories = Mapping[str, pd.DataFrame]
LOSS, ACCURACY = ("cross entropy (nats)", 1), ("images classified right (%)", 100)  # unit, and its number in one


def classification_curves(histories: Histories, names: Mapping[str, str], path: Path) -> None:
    """Loss and accuracy of each model: training dashed, validation solid; ``names`` are the legend's."""
    figure, (loss, accuracy) = grid(1, 2, (9.6, 3.9), "Problem 1: training of the two classifiers")
    for index, (key, history) in enumerate(histories.items()):
        _train_and_validation(loss, history, "loss", colour(index), names[key])
        _train_and_validation(accuracy, history, "accuracy", colour(index), names[key], scale=100)
    _label(loss, "Loss", LOSS[0])
    _label(accuracy, "Accuracy", ACCURACY[0])
    _legend_below(figure, accuracy)
    save(figure, path)


def finetuning_curves(histories: Histories, path: Path) -> None:
    """Four panels over the settings: loss and accuracy, on the training and on the validation images."""
    figure, panels = grid(2, 2, (9.6, 6.6), "Problem 2: fine-tuning, one line per setting")
    shown = (
        ("train_loss", "Loss, training images", *LOSS),
        ("val_loss", "Loss, validation images", *LOSS),
        ("train_accuracy", "Accuracy, training images (augmented)", *ACCURACY),
        ("val_accuracy", "Accuracy, validation images", *ACCURACY),
    )
    for panel, (column, title, unit, scale) in zip(panels, shown, strict=True):
        for index, (key, history) in enumerate(histories.items()):
            _line(panel, history, column, colour(index), f"setting {key}", scale=scale)
        _label(panel, title, unit)
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
    title = "Starting weights of P1 and P3, pre-trained here on mini's labels"
    figure, panels = grid(1, 2, (9.2, 3.6), title)
    for panel, quantity, (unit, scale) in zip(panels, ("loss", "accuracy"), (LOSS, ACCURACY), strict=True):
        if histories:
            _label(panel, f"{quantity.capitalize()}, mini's images", unit)
        else:
            blank(panel, "none was pre-trained here")
        for index, (key, history) in enumerate(histories.items()):
            _line(panel, history, f"train_{quantity}", colour(index), names[key], scale=scale)
    if histories:
        _legend_below(figure, panels[0])
    save(figure, path)


def pretraining_curves(
    supervised: pd.DataFrame, byol: pd.DataFrame, starts: Mapping[str, Mapping[str, float]], projection: int, path: Path
) -> None:
    """Both pre-trainings: losses, learning rates, worth of the features; BYOL's spread, decay and gradients.

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
    _line(spread, byol, "projection_std", colour(1), "measured")
    spread.axhline(projection**-0.5, color=GREY, linestyle="--", label=f"spread evenly: 1/√{projection}")
    _label(spread, "BYOL: spread of the projections", "standard deviation per component", floor=True)
    spread.legend(loc="best")
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
    _label(loss, "Supervised: loss", LOSS[0])
    _line(accuracy, history, "train_accuracy", colour(0), scale=100)
    _label(accuracy, "Supervised: training accuracy", ACCURACY[0])


def _worth_of_features(
    panels: Sequence[Axes], legend: Axes, trained: Histories, starts: Mapping[str, Mapping[str, float]]
) -> None:
    """Measures of the features over both trainings and before them, a panel each; blank where there are no labels."""
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


def _line(
    axes: Axes, history: pd.DataFrame, column: str, stroke: str, label: str | None = None, style="-", scale: float = 1
) -> None:
    """Draw a column over the epochs, marked one by one while they are few: one point makes no line to be seen."""
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


# Pictures of a training, by the history file that names it; {} is the model in lower case.
PICTURES = {
    "start": ("start_curves",),
    "pretrain": ("p2_networks", "p2_pretraining"),
    "classify": ("p1_network_{}", "p1_curves", "p1_confusion"),
    "classify/A": ("p1_pca", "p1_tsne"),
    "finetune": ("p2_curves", "p2_bars", "p2_ranking", "p2_confusion"),
    "segment": ("p3_network_{}", "p3_curves", "p3_masks_{}", "p3_iou_bars", "p3_confusion"),
}


def pictures_by_history(params: Params, histories: Path, figures: Path) -> dict[Path, list[Path]]:
    """The pictures of each training, under the history file that names it."""
    trainings = {
        "start": pretrained(params),
        "pretrain": ("supervised", "byol"),
        "classify": "AB",
        "finetune": params.settings,
        "segment": "AB",
    }
    return {
        histories / stage / f"{model}.csv": [
            figures / f"{name.format(model.lower())}.png"
            for name in (*PICTURES[stage], *PICTURES.get(f"{stage}/{model}", ()))
        ]
        for stage, models in trainings.items()
        for model in models
    }
