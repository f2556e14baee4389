"""Tables of settings: the values used here, from params.yaml, beside those that the report prints."""

from typing import Any

from hw1.report.names import LOSSES, NAMES, OPTIMISERS, TRAINED_PART, WEIGHTS
from hw1.run.parameters.params import Params, ResizeCrop, Segmenter
from hw1.statistics.published import BYOL_TABLES, SETTINGS

Table = list[tuple[str, str, str]]  # rows of (name, here, the report)


def settings_tables(params: Params, fc1: int) -> dict[str, Table]:
    """One table per training recipe: p1.A, p1.B, byol, supervised, finetune, p3.A, p3.B, and start.P1B and so on where
    such a network is pre-trained here; ``fc1`` is the number of inputs of model A's first fully connected layer.
    """
    small, convnext, byol = params.classify.A, params.classify.B, params.pretrain.byol
    backbone = {"network": NAMES[params.backbone]}
    mini, office = ({"network input": stored(part)} for part in (params.prepare.mini, params.prepare.office))
    used = {
        "p1.A": {
            "network": "CNN, two convolutions",
            "initial weights": "random",
            "network input": f"{small.height} × {small.width}; fc1 has {fc1:,} inputs",
            "head": f"{small.head}, fc1 to {small.hidden}",
            **_recipe(small),
            "levels": "normalised" if small.normalise else "0 to 255",
        },
        "p1.B": {
            "network": NAMES[convnext.network],
            "initial weights": WEIGHTS[convnext.weights][0],
            "trained part": TRAINED_PART[convnext.trainable],
            "network input": _square(convnext.crop),
            **_recipe(convnext),
        },
        "byol": backbone
        | mini
        | _recipe(byol)
        | {
            "loss": "BYOL's formula",
            "projector, predictor": f"{byol.hidden} wide, {byol.projection} long outputs",
            "moving average": f"decay {byol.ema:g}, rising to 1",
        },
        "supervised": backbone | mini | _recipe(params.pretrain.supervised),
        "finetune": backbone | office | {"learning rate": f"{params.lr:g}"} | _recipe(params.finetune),
        "p3.A": _segmenter(params.segment.A, params.prepare.p3.size),
        "p3.B": _segmenter(params.segment.B, params.prepare.p3.size),
    }
    for name, key in {"augmentation": "augmentation", "learning rate": "lr", "batch size": "batch_size"}.items():
        tables = [f'"{title}"' for title, table in BYOL_TABLES.items() if getattr(table, key) == getattr(byol, key)]
        used["byol"][name] += f" ({' and '.join(tables) or 'neither table'})"
    for name in pretrained(params):
        training = getattr(params.pretrain.start, name)
        used[f"start.{name}"] = {"network input": _square(training.size)} | _recipe(training)
    return {
        table: [(name, value, SETTINGS.get(table, {}).get(name, "not printed")) for name, value in rows.items()]
        for table, rows in used.items()
    }


def stored(geometry: ResizeCrop) -> str:
    """The size of stored images in words, such as 224 × 224, cut from 232 × 232, bicubic."""
    cut = f", cut from {_square(geometry.resize)}" if geometry.crop < geometry.resize else ""
    return f"{_square(geometry.crop)}{cut}, {geometry.filter}"


def _square(side: int) -> str:
    return f"{side} × {side}"


def pretrained(params: Params) -> list[str]:
    """The networks of problems 1 and 3, such as P1B, that start from weights of mini's labels."""
    return [name for name, model in params.starting.items() if model.weights == "mini"]


def _recipe(training: Any) -> dict[str, str]:
    """Rows that every training has; augmentation and learning rate where they are its own."""
    momentum = f", momentum {training.momentum:g}" if training.optimiser == "sgd" else ""
    decay = f", weight decay {training.weight_decay:g}" if training.weight_decay else ""
    factor = f", × {training.gamma:g} each epoch" if training.schedule == "exponential" else ""
    rows = {
        "augmentation": getattr(training, "augmentation", None),
        "optimiser": OPTIMISERS[training.optimiser] + momentum + decay,
        "learning rate": f"{training.lr:g}" if hasattr(training, "lr") else None,
        "schedule": training.schedule + factor,
        "batch size": str(training.batch_size),
        "epochs": str(training.epochs),
        "loss": LOSSES[getattr(training, "loss", "cross_entropy")],
    }
    return {name: value for name, value in rows.items() if value is not None}


def _segmenter(model: Segmenter, size: int) -> dict[str, str]:
    share = "" if model.width == 1 else f", width × {model.width:g}"
    focal = f", alpha {model.focal_alpha:g}, gamma {model.focal_gamma:g}" if model.loss == "focal" else ""
    changes = {
        "horizontal flip": model.horizontal_flip,
        "vertical flip": model.vertical_flip,
        "colour jitter": model.color_jitter,
    }
    return {
        "network": NAMES[model.network] + share,
        "initial weights": WEIGHTS[model.weights][0],
        "network input": _square(size),
        "augmentation": ", ".join(f"{name} {value:g}" for name, value in changes.items() if value) or "none",
        **_recipe(model),
        "loss": LOSSES[model.loss] + focal,
    }
