"""Sections of parameters for small trainings on the CPU; a test names the keys that it is about."""

import torch

from hw1.images.machine import Machine
from hw1.run.parameters.params import ByolTraining, Segmenter, Supervised

CPU = Machine(torch.device("cpu"), None, 0.5)
COMMON = {"epochs": 2, "batch_size": 4, "optimiser": "sgd", "momentum": 0.9, "weight_decay": 0.0}
COMMON |= {"schedule": "constant", "lr": 0.01}
CLASSIFIER = COMMON | {"augmentation": "choice224"}
BYOL = CLASSIFIER | {"hidden": 32, "projection": 8, "ema": 0.9, "collapse_spread": 0.1, "on_collapse": "warn"}
SEGMENTER = COMMON | {"loss": "cross_entropy", "focal_alpha": 0.25, "focal_gamma": 2.0, "width": 0.0625}
SEGMENTER |= {"network": "fcn32s_vgg16", "weights": "none"}
SEGMENTER |= {"horizontal_flip": 0.5, "vertical_flip": 0.5, "color_jitter": 0.5}


def supervised(**changes: object) -> Supervised:
    return Supervised(**CLASSIFIER | changes)


def byol_training(**changes: object) -> ByolTraining:
    return ByolTraining(**BYOL | changes)


def segmenter(**changes: object) -> Segmenter:
    return Segmenter(**SEGMENTER | changes)
