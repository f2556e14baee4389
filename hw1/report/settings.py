"""Tables of settings: what was used here, from params.yaml, beside what the report prints."""

from collections.abc import Mapping
from typing import Any

from hw1.report.names import LOSSES, NAMES
from hw1.run.parameters.params import (
    ByolTraining,
    ConvNeXt,
    Finetune,
    Params,
    ResizeCrop,
    Segmenter,
    SmallCnn,
    Supervised,
)
from hw1.statistics import published
from hw1.statistics.published import BYOL_TABLES

Table = list[tuple[str, str, str]]  # rows of (name, here, the report)

FROM = {
    "none": "random",
    "imagenet": "ImageNet",
    "coco": "COCO, torchvision's DeepLabv3",
    "mini": "pre-trained here on mini's labels, in place of ImageNet's",
}
TRAINED_PART = {
    "printed": 'names with "classifier" or "7"',
    "stage7": "features.7 and the classifier",
    "all": "everything",
}


def settings_tables(params: Params, fc1: int) -> dict[str, Table]:
    """One table per training recipe: p1.A, p1.B, byol, supervised, finetune, p3.A, p3.B, and start.P1B and so on where
    such a network is pre-trained here; ``fc1`` is the number of inputs of model A's first fully connected layer.
    """
    backbone = NAMES[params.backbone]
    mini, office = stored(params.prepare.mini), stored(params.prepare.office)
    here = {
        "p1.A": _small_cnn(params.classify.A, fc1),
        "p1.B": _convnext(params.classify.B),
        "byol": {"network": backbone, "network input": mini} | _byol(params.pretrain.byol),
        "supervised": {"network": backbone, "network input": mini} | _recipe(params.pretrain.supervised),
        "finetune": {
            "network": backbone,
            "network input": office,
            "learning rate": f"{params.lr:g}",
        }
        | _recipe(params.finetune),
        "p3.A": _segmenter(params.segment.A, params.prepare.p3.size),
        "p3.B": _segmenter(params.segment.B, params.prepare.p3.size),
    }
    for name in pretrained(params):
        training = getattr(params.pretrain.start, name)
        here[f"start.{name}"] = {"network input": f"{training.size} × {training.size}"} | _recipe(training)
    return {key: _beside(rows, published.SETTINGS.get(key, {})) for key, rows in here.items()}


def stored(geometry: ResizeCrop) -> str:
    """The size of stored images in words, such as 224 × 224, cut from 232 × 232, bicubic."""
    resize, crop = geometry.resize, geometry.crop
    cut = f", cut from {resize} × {resize}" if crop < resize else ""
    return f"{crop} × {crop}{cut}, {geometry.filter}"


def pretrained(params: Params) -> list[str]:
    """The networks of problems 1 and 3, such as P1B, that start from weights of mini's labels."""
    return [name for name, model in params.starting.items() if model.weights == "mini"]


def _beside(here: dict[str, str], report: dict[str, str]) -> Table:
    return [(name, value, report.get(name, "not printed")) for name, value in here.items()]


def _recipe(training: Supervised | Finetune | ByolTraining | SmallCnn | ConvNeXt | Segmenter) -> dict[str, str]:
    rows = {"augmentation": training.augmentation} if hasattr(training, "augmentation") else {}
    optimiser = "Adam" if training.optimiser == "adam" else f"SGD, momentum {training.momentum:g}"
    decay = f", weight decay {training.weight_decay:g}" if training.weight_decay else ""
    rows["optimiser"] = optimiser + decay
    if hasattr(training, "lr"):
        rows["learning rate"] = f"{training.lr:g}"
    factor = f", × {training.gamma:g} each epoch" if training.schedule == "exponential" else ""
    rows |= {
        "schedule": training.schedule + factor,
        "batch size": str(training.batch_size),
        "epochs": str(training.epochs),
    }
    return rows | {"loss": LOSSES[getattr(training, "loss", "cross_entropy")]}


def _small_cnn(model: SmallCnn, fc1: int) -> dict[str, str]:
    size = f"{model.height} × {model.width}; fc1 has {fc1:,} inputs"
    head = f"{model.head}, fc1 to {model.hidden}"
    network = {"network": "CNN, two convolutions", "initial weights": "random", "network input": size, "head": head}
    return network | _recipe(model) | {"levels": "normalised" if model.normalise else "0 to 255"}


def fc1_inputs(small_cnn: Mapping[str, Any]) -> int:
    """Of the small CNN as stage evaluate recorded it."""
    return next(part["input"][0] for part in small_cnn["parts"] if part["kind"] == "Linear")


def _convnext(model: ConvNeXt) -> dict[str, str]:
    network = {
        "network": NAMES[model.network],
        "initial weights": FROM[model.weights],
        "trained part": TRAINED_PART[model.trainable],
        "network input": f"{model.crop} × {model.crop}",
    }
    return network | _recipe(model)


def _byol(byol: ByolTraining) -> dict[str, str]:
    heads = f"{byol.hidden} wide, {byol.projection} long outputs"
    average = f"decay {byol.ema:g}, rising to 1"
    rows = _recipe(byol) | {"loss": "BYOL's formula", "projector, predictor": heads, "moving average": average}
    for name, key in {"augmentation": "augmentation", "learning rate": "lr", "batch size": "batch_size"}.items():
        tables = [f'"{title}"' for title, table in BYOL_TABLES.items() if getattr(table, key) == getattr(byol, key)]
        rows[name] += f" ({' and '.join(tables) or 'neither table'})"
    return rows


def _segmenter(model: Segmenter, size: int) -> dict[str, str]:
    share = "" if model.width == 1 else f", width × {model.width:g}"
    focal = f", alpha {model.focal_alpha:g}, gamma {model.focal_gamma:g}" if model.loss == "focal" else ""
    changes = {
        "horizontal flip": model.horizontal_flip,
        "vertical flip": model.vertical_flip,
        "colour jitter": model.color_jitter,
    }
    used = [f"{name} {value:g}" for name, value in changes.items() if value]
    return {
        "network": NAMES[model.network] + share,
        "initial weights": FROM[model.weights],
        "network input": f"{size} × {size}",
        "augmentation": ", ".join(used) or "none",
        **_recipe(model),
        "loss": LOSSES[model.loss] + focal,
    }
