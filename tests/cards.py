"""Small networks and their cards, as the stages of the quick preset build and write them."""

from pathlib import Path

import torch
from closure import ROOT
from torch import nn

from hw1.classify.classifiers import FinetunedClassifier, build_backbone, build_classifier, feature_width
from hw1.data.arrays import Manifest
from hw1.engine.card import Card, save_model
from hw1.run.parameters.params import flat, load
from hw1.segment.segmenters import build_segmenter

QUICK = load(ROOT / "presets/quick.yaml")
STAGES = ["classify@A", "classify@B", "finetune@C", "finetune@D", "segment@A", "segment@B"]


def used(stage: str) -> dict:
    """The parameters of a stage; in fp32, so that every machine computes the same."""
    task, _, model = stage.partition("@")
    own = ("lr", "backbone", "finetune", f"settings.{model}") if task == "finetune" else (f"{task}.{model}",)
    return {**flat(QUICK, "seed", "runtime", *own), "runtime.precision": "fp32"}


def card_of(stage: str, classes: int = 7, resize: int = 36, crop: int = 32) -> Card:
    filter = "bilinear" if stage.startswith("segment") else "bicubic"
    return Card.of(stage, 5, Manifest("synthetic", resize, crop, filter, classes, [], []), used(stage))


def saved(stage: str, path: Path, classes: int = 7) -> nn.Module:
    """The network the stage builds, with random weights, in eval mode, after writing it to ``path``."""
    torch.manual_seed(1)
    card = card_of(stage, classes)
    if card.task == "finetune":
        backbone = build_backbone(card.network)
        network = FinetunedClassifier(backbone, feature_width(backbone), classes, frozen=card.model == "D")
    else:
        network = (build_classifier if card.task == "classify" else build_segmenter)(card.training, classes)
    save_model(network, path, card)
    return network.eval()
