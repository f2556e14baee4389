"""What the published report prints, as constants.

Source: the published homework report (NTU "Deep Learning for Computer Vision", Fall 2023, homework 1)
and the course's own rules of that homework. Figures are in percent; a setting that the report does
not print is absent here, and the page says "not printed".
"""

from typing import NamedTuple

# Accuracy on the validation set in percent, problem 1: A the small CNN, B the pre-trained ConvNeXt.
P1_ACCURACY = {"A": 30.7, "B": 90.2}

# Accuracy on the validation set in percent, problem 2: the five fine-tuning settings.
P2_ACCURACY = {"A": 41.0, "B": 59.5, "C": 49.6, "D": 53.9, "E": 34.0}

# Mean IoU on the validation set in percent, problem 3: A FCN32s, B DeepLabv3.
P3_MIOU = {"A": 56.4, "B": 72.9}

# What the settings start from and what they train, in the words of params.yaml.
P2_SETTINGS = {
    "A": ("scratch", "full"),
    "B": ("supervised", "full"),
    "C": ("byol", "full"),
    "D": ("supervised", "classifier"),
    "E": ("byol", "classifier"),
}

# The course's data: images to train on and to validate on, classes (mini: no labels, no validation part).
COURSE_DATA = {
    "p1": {"train": 22_500, "validation": 2_500, "classes": 50},
    "mini": {"train": 38_400},
    "office": {"train": 3_951, "validation": 406, "classes": 65},
    "p3": {"train": 2_000, "validation": 257, "classes": 7},
}

# The course's scores to reach in percent (simple, strong): P1's better model, P2's setting C, P3's better model.
COURSE_THRESHOLDS = {"P1 B": (75, 86), "P2 C": (36, 40), "P3 B": (69, 73)}


class ByolTable(NamedTuple):
    """What the two tables of BYOL's settings differ in; keys as in params.yaml."""

    lr: float
    batch_size: int
    augmentation: str


BYOL_TABLES = {
    "SSL Model (BYOL)": ByolTable(0.01, 256, "choice224"),
    "SSL Info": ByolTable(0.0005, 128, "trivial128"),  # in the answer that gives the results of A to E
}


def _by_table(key: str) -> str:
    return "; ".join(f'{getattr(table, key)} ("{name}")' for name, table in BYOL_TABLES.items())


# The report's tables of settings; the keys are the rows of the page's tables.
SETTINGS = {
    "p1.A": {
        "network": "CNN, two convolutions",
        "initial weights": "random",
        "network input": "not printed; fc1 has 29,696 inputs",
        "head": "forward: fc1 to 128; declared: fc2, dropout too",
        "augmentation": "none",
        "optimiser": "Adam",
        "learning rate": "0.0003",
        "batch size": "32",
        "epochs": "80",
        "loss": "cross entropy",
    },
    "p1.B": {
        "network": "ConvNeXt-Base",
        "initial weights": "ImageNet",
        "trained part": 'names with "classifier" or "7"',
        "network input": "224 × 224",
        "augmentation": "choice224",
        "optimiser": "Adam",
        "learning rate": "0.0005",
        "batch size": "128",
        "epochs": "50",
        "loss": "cross entropy",
    },
    "byol": {
        "network": "ResNet50",
        "network input": "128 × 128",
        "augmentation": _by_table("augmentation"),
        "optimiser": 'Adam ("SSL Model (BYOL)")',
        "learning rate": _by_table("lr"),
        "batch size": _by_table("batch_size"),
        "epochs": "10 (both tables)",
        "loss": 'BYOL\'s formula; "Focal Loss" ("SSL Model (BYOL)")',
    },
    "finetune": {
        "network": "ResNet50",
        "network input": "224 × 224, cut from 232 × 232",
        "augmentation": "choice224",
        "optimiser": "Adam",
        "learning rate": "0.0005",
        "batch size": "64",
        "epochs": "100",
        "loss": "cross entropy",
    },
    "p3.A": {"network": "VGG16-FCN32s", "network input": "512 × 512", "epochs": "100"},
    "p3.B": {"network": "DeepLabv3-ResNet50", "network input": "512 × 512", "epochs": "100"},
}
