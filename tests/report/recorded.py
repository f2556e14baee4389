"""Networks of the quick preset, changed here and there, as stage evaluate records them."""

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from closure import ROOT

from hw1.classify.classifiers import FinetunedClassifier, build_backbone, build_classifier, feature_width
from hw1.evaluate.trained import architecture
from hw1.run.parameters.params import load
from hw1.segment.segmenters import build_segmenter

QUICK = load(ROOT / "presets/quick.yaml")


@cache
def small_cnn(classes: int = 50, **changes: Any) -> dict[str, Any]:
    with torch.device("meta"):  # shapes without weights
        network = build_classifier(replace(QUICK.classify.A, **changes), classes)
        return architecture(network, torch.empty(1, 3, 32, 32))


@cache
def convnext(classes: int = 50, **changes: Any) -> dict[str, Any]:
    model = replace(QUICK.classify.B, **changes)
    with torch.device("meta"):
        return architecture(build_classifier(model, classes), torch.empty(1, 3, model.crop, model.crop))


@cache
def setting(train: str, classes: int, backbone: str = "resnet18") -> dict[str, Any]:
    with torch.device("meta"):
        body = build_backbone(backbone)
        network = FinetunedClassifier(body, feature_width(body), classes, train == "classifier")
        return architecture(network, torch.empty(1, 3, 32, 32))


@cache
def fcn32s(size: int) -> dict[str, Any]:
    """With weights: its float32 part inside autocast cannot be had without."""
    return architecture(build_segmenter(QUICK.segment.A, 7), torch.zeros(1, 3, size, size))


@cache
def deeplabv3(size: int, width: float = 0.25) -> dict[str, Any]:
    with torch.device("meta"):
        network = build_segmenter(replace(QUICK.segment.B, width=width), 7)
        return architecture(network, torch.empty(1, 3, size, size))
