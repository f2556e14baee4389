"""Tables of settings: what was used here, from params.yaml, beside what the report prints."""

from collections.abc import Mapping
from typing import Any

from hw1.report import published
from hw1.report.names import LOSSES, NAMES
from hw1.run.params import ByolTraining, ConvNeXt, Finetune, Params, Segmenter, SmallCnn, Supervised

Table = list[tuple[str, str, str]]  # rows of (name, here, the report)

FROM = {"none": "random", "imagenet": "ImageNet"}
TRAINED_PART = {
    "printed": 'names with "classifier" or "7"',
    "stage7": "features.7 and the classifier",
    "all": "everything",
}


def settings_tables(params: Params, fc1: int) -> dict[str, Table]:
    """One table per training recipe: p1.A, p1.B, byol, supervised, finetune, p3.A, p3.B; ``fc1`` is the number of
    inputs of model A's first fully connected layer."""
    backbone = NAMES[params.backbone]
    mini, office = f"{params.prepare.mini.size} × {params.prepare.mini.size}", params.prepare.office
    here = {
        "p1.A": _small_cnn(params.classify.A, fc1),
        "p1.B": _convnext(params.classify.B),
        "byol": {"network": backbone, "network input": mini} | _byol(params.pretrain.byol),
        "supervised": {"network": backbone, "network input": mini} | _recipe(params.pretrain.supervised),
        "finetune": {
            "network": backbone,
            "network input": f"{office.crop} × {office.crop}, cut from {office.resize} × {office.resize}",
            "learning rate": f"{params.lr:g}",
        }
        | _recipe(params.finetune),
        "p3.A": _segmenter(params.segment.A, params.prepare.p3.size),
        "p3.B": _segmenter(params.segment.B, params.prepare.p3.size),
    }
    return {key: _beside(rows, published.SETTINGS.get(key, {})) for key, rows in here.items()}


def _beside(here: dict[str, str], report: dict[str, str]) -> Table:
    return [(name, value, report.get(name, "not printed")) for name, value in here.items()]


def _recipe(training: Supervised | Finetune | ByolTraining | SmallCnn | ConvNeXt | Segmenter) -> dict[str, str]:
    rows = {"augmentation": training.augmentation} if hasattr(training, "augmentation") else {}
    optimiser = "Adam" if training.optimiser == "adam" else f"SGD, momentum {training.momentum:g}"
    decay = f", weight decay {training.weight_decay:g}" if training.weight_decay else ""
    rows["optimiser"] = optimiser + decay
    if hasattr(training, "lr"):
        rows["learning rate"] = f"{training.lr:g}"
    rows |= {
        "schedule": training.schedule,
        "batch size": str(training.batch_size),
        "epochs": str(training.epochs),
    }
    return rows | ({"loss": LOSSES[training.loss]} if hasattr(training, "loss") else {})


def _small_cnn(model: SmallCnn, fc1: int) -> dict[str, str]:
    size = f"{model.height} × {model.width}; fc1 has {fc1:,} inputs"
    head = f"{model.head}, fc1 to {model.hidden}"
    network = {"network": "CNN, two convolutions", "initial weights": "random", "network input": size, "head": head}
    return network | _recipe(model)


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
    return _recipe(byol) | {"loss": "BYOL's formula", "projector, predictor": heads, "moving average": average}


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


def choices(params: Params, fc1: int, supervised_from: str, classes: int) -> Table:
    """Where the report contradicts itself or is silent: (what, the report, what was taken here)."""
    small, convnext, byol = params.classify.A, params.classify.B, params.pretrain.byol
    outputs = max(small.hidden, classes)
    head = {
        "printed": f"as the printed forward: fc1's {outputs} outputs are the scores, the first {classes} "
        "stand for the classes; the second-last layer is the flattened output of the convolutions",
        "declared": f"as declared: fc1, ReLU, dropout {small.dropout:g}, fc2; the second-last layer is fc1's",
    }
    trained = {
        "printed": "the printed rule to the letter",
        "stage7": "what the rule seems to mean: features.7 and the classifier",
        "all": "all parameters are trained, as there are no pre-trained ones to keep"
        if convnext.weights == "none"
        else "all parameters are trained",
    }
    backbone = "trained by the pipeline on the labels of mini/train.csv"
    stages = "; ".join(f"{key}: {_optimiser_words(getattr(params.segment, key))}" for key in "AB")
    return [
        (
            "P1 A, network input",
            "images of 32 × 32, but fc1 has 29,696 = 64 × 8 × 58 inputs, which fits images of 32 × 232",
            f"images stretched (nearest neighbour) to {small.height} × {small.width}: fc1 has {fc1:,} inputs",
        ),
        (
            "P1 A, head",
            "declares fc1, fc2 and a dropout layer; the printed forward returns fc1's output",
            head[small.head],
        ),
        (
            "P1 B, trained part",
            'parameters whose name holds "classifier" or "7": in ConvNeXt-Base that is features.7, '
            "but also blocks 7 and 17 of features.5",
            trained[convnext.trainable],
        ),
        (
            "P2, BYOL's learning rate and batch",
            "one table has 0.01 and 256, the other 0.0005 and 128",
            f"{byol.lr:g} and {byol.batch_size}. The paper preset takes 0.01 and 256, the table of the model itself. "
            "On real photographs (ResNet18, 32 px, the rest as there) 0.01 made the projections collapse and left "
            "features worth no more than chance; 0.003 did not collapse but taught little; 0.0005, the second table's, "
            "learned (README). -S pretrain.byol.lr=0.0005 takes that",
        ),
        (
            "P2, BYOL's loss",
            'one table says "Focal Loss", the text gives BYOL\'s formula 2 − 2 cos, in both directions',
            "the formula",
        ),
        (
            "P2, supervised backbone",
            "given by the course as a file (pretrain_model_SL.pt)",
            "the given file" if supervised_from.endswith(".pt") else backbone,
        ),
        (
            "P3, optimiser, batch and loss",
            "not printed; the author's public code has A: Adam, 0.0005, batch 16; B: SGD, 0.001, batch 8, focal loss",
            stages,
        ),
        (
            "P3, pixels of class Unknown",
            "not said; the course's scorer keeps them: a class predicted there is a false positive",
            "scored as the course does; the training losses leave Unknown out",
        ),
        (
            "Pictures at three epochs",
            "first, middle, last",
            "after the first, the middle and the last epoch of training",
        ),
    ]


def _optimiser_words(model: Segmenter) -> str:
    name = {"adam": "Adam", "sgd": "SGD"}[model.optimiser]
    return f"{name}, learning rate {model.lr:g}, batch {model.batch_size}, {LOSSES[model.loss]}"
