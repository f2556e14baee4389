"""The ``config.json`` of a folder for the Hugging Face hub: what rebuilds and feeds a network without this project.

Its key ``torchvision`` says which of torchvision's networks it is: a tree of calls ``{"call": name, "arguments":
values}`` (by keyword, or by place in a list) whose texts are dotted names too, the parts to ``replace`` afterwards, and
how the ``names`` of the weights begin there. It is null where torchvision has no such network.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torchvision.models import convnext, resnet, segmentation

from hw1.classify.classifiers import FinetunedClassifier
from hw1.data.classes import LAND_COVER, MASK_COLOURS
from hw1.engine.card import Card
from hw1.segment.segmenters import DeepLabV3

PIPELINES = {"classify": "image-classification", "finetune": "image-classification", "segment": "image-segmentation"}
Json = dict[str, Any]


def config_of(network: nn.Module, card: Card) -> Json:
    """Plain JSON: the card's facts and parameters, the network's outputs, and torchvision's network, if it is one."""
    said = card.metadata()
    with torch.no_grad():
        outputs = network.eval()(torch.zeros(1, 3, card.input_side, card.input_side)).shape[1]
    torchvision = torchvision_of(network, card)
    config = {
        "library_name": "hw1" if torchvision is None else "torchvision",
        "pipeline_tag": PIPELINES[card.task],
        "architecture": said["network"],
        "class": f"{type(network).__module__}.{type(network).__name__}",
        "num_classes": said["classes"],
        "num_outputs": outputs,  # those past the classes are never a label
        "torchvision": torchvision,
        "input_size": said["input_size"],
        "preparation": [step | _filtered_by(number) for number, step in enumerate(said["preparation"])],
        "normalisation": {"divide_by": 255, **said["normalisation"]},
    }
    if card.task == "segment":
        config["id2label"] = {str(index): name for index, name in enumerate(LAND_COVER)}
        config["mask_colours"] = dict(zip(LAND_COVER, MASK_COLOURS.tolist(), strict=True))
    return config | {key: said[key] for key in ("stage", "epoch", "origin", "parameters")}


def _filtered_by(number: int) -> Json:
    """PIL makes what is stored, by two steps; what follows is torch's work on bytes, a level apart at most."""
    return {"by": "PIL" if number < 2 else "torch"}


def torchvision_of(network: nn.Module, card: Card) -> Json | None:
    """Which network of torchvision's it is; None for one that torchvision has not."""
    if isinstance(network, FinetunedClassifier):
        return _resnet(network.backbone, card.classes)
    if isinstance(network, convnext.ConvNeXt):
        return _convnext(network)
    if isinstance(network, DeepLabV3) and card.training.width == 1:
        build = _call(segmentation.deeplabv3_resnet50, weights_backbone=None, num_classes=card.classes)
        return {**build, "replace": {}, "names": {"network.": ""}}
    return None


def _resnet(backbone: resnet.ResNet, classes: int) -> Json:
    stages = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
    block = _name(type(backbone.layer1[0]))
    build = _call(resnet.ResNet, block=block, layers=[len(stage) for stage in stages], num_classes=classes)
    return {**build, "replace": {}, "names": {"backbone.": "", "classifier.": "fc."}}


def _convnext(network: convnext.ConvNeXt) -> Json:
    """torchvision's, but for its classifier."""
    stages = network.features[1::2]  # before each of them the stem, or what halves the size
    widths = [stage[0].layer_scale.shape[0] for stage in stages]
    setting = [
        _call(convnext.CNBlockConfig, input_channels=width, out_channels=after, num_layers=len(stage))
        for width, after, stage in zip(widths, [*widths[1:], None], stages, strict=True)
    ]
    layers = [
        _call(nn.Linear, layer.in_features, layer.out_features) if isinstance(layer, nn.Linear) else _call(type(layer))
        for layer in network.classifier
    ]
    classifier = _call(nn.Sequential, *layers)
    return {**_call(convnext.ConvNeXt, block_setting=setting), "replace": {"classifier": classifier}, "names": {}}


def _call(function: Callable, *places: Any, **keywords: Any) -> Json:
    return {"call": _name(function), "arguments": keywords or list(places)}


def _name(of: Callable) -> str:
    module = "torch.nn" if of.__module__.startswith("torch.nn.") else of.__module__
    return f"{module}.{of.__name__}"


def code_of(call: Any) -> str:
    """A call of the tree, or an argument of one, as Python that has imported its :func:`names_in`."""
    if isinstance(call, str):
        return call.rpartition(".")[2]
    if isinstance(call, list):
        return f"[{', '.join(map(code_of, call))}]"
    if not isinstance(call, dict):
        return repr(call)
    given = call["arguments"]
    if isinstance(given, dict):
        return f"{code_of(call['call'])}({', '.join(f'{key}={code_of(value)}' for key, value in given.items())})"
    return f"{code_of(call['call'])}({', '.join(map(code_of, given))})"


def names_in(tree: Any) -> set[str]:
    """Every dotted name of a call, or of an argument of one."""
    if isinstance(tree, str):
        return {tree}
    if isinstance(tree, dict):
        tree = [tree["call"], tree["arguments"]] if "call" in tree else list(tree.values())
    return set().union(*map(names_in, tree)) if isinstance(tree, list) else set()
