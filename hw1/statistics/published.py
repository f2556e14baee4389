"""Figures and settings that the published report prints, and those of six other reports, as constants.

Source: the published homework report (NTU "Deep Learning for Computer Vision", Fall 2023, homework 1) and the course's
own rules of that homework. A setting that the report does not print is absent here, and the page says "not printed".
"""

from typing import NamedTuple

MEASURE = {"p1": "accuracy", "p2": "accuracy", "p3": "miou"}  # the headline of each problem

# On the validation set, in percent: accuracy (P1: A the small CNN, B the ConvNeXt; P2: settings) and mean IoU (P3: A
# FCN32s, B DeepLabv3).
FIGURES = {
    "p1": {"A": 30.7, "B": 90.2},
    "p2": {"A": 41.0, "B": 59.5, "C": 49.6, "D": 53.9, "E": 34.0},
    "p3": {"A": 56.4, "B": 72.9},
}

# Starting weights and trained part of each setting, in the words of params.yaml.
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
    """Values in which the two tables of BYOL's settings differ; keys as in params.yaml."""

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


class Report(NamedTuple):
    """A public report of the same homework: its place on github.com, figures by problem and model, stated settings."""

    address: str
    figures: dict[str, dict[str, float]]
    stated: str


def _report(address: str, stated: str, *figures: float) -> Report:
    """Make a report of nine figures in the order of the problems and models."""
    numbers = iter(figures)
    by_problem = {problem: {model: next(numbers) for model in models} for problem, models in FIGURES.items()}
    return Report(address, by_problem, stated)


# The report that is rebuilt here and six of other students of the same course and year, all on the course's own data,
# read in their public repositories on 2026-11-27. Validation figures in percent. None gives seeds, intervals or a test;
# most keep the epoch that was best on the validation images; networks and epochs differ.
REPORTS = (
    Report("Lucashien/NTU-2023Fall-DLCV", FIGURES, "the report rebuilt here; BYOL 10 epochs"),
    _report(
        *("mason30114/DLCV", "P1 B ResNet101; BYOL 500 epochs, Adam 1e-4; P3 B DeepLabv3-ResNet101"),
        *(55.5, 87.9, 34.2, 44.1, 48.0, 22.9, 37.7, 62.6, 75.0),
    ),
    _report("ryanchenggg/DLCV-Fall-2023", "not stated", 70.0, 88.4, 40.2, 46.6, 43.1, 34.0, 5.7, 55.3, 75.3),
    _report(
        *("fattho0919/dlcv-fall-2023-homework", "P1 B ResNet18; BYOL batch 100, Adam 1e-4"),
        *(64.6, 86.3, 32.5, 45.1, 43.6, 33.3, 29.8, 45.3, 70.4),
    ),
    _report(
        "JustinKai0527/ntu_dlcv_2023",
        "P1 B ResNet152 with mixup; BYOL 1,000 epochs, Adam 1e-4; fine-tuning 150 epochs",
        *(65.2, 89.8, 52.7, 55.3, 55.1, 24.2, 20.8, 60.3, 74.7),
    ),
    _report(
        *("rayshiue/DLCV_2023fall", "P1 B DenseNet121; BYOL 40 epochs, Adam 3e-4 to 3e-5; P3 B DeepLabv3+"),
        *(70.2, 90.3, 38.2, 43.4, 41.4, 33.0, 6.4, 71.6, 73.6),
    ),
    _report(
        *("Garylee188/DLCV_2023_Fall_HW", "P1 A ResNet50, B EfficientNetV2-L; Adam 1e-4"),
        *(29.0, 90.2, 7.1, 27.5, 31.9, 12.3, 21.6, 67.9, 69.4),
    ),
)
