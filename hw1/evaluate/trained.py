"""Trained networks: built from their weights' file alone, and what they are made of."""

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import convnext, resnet

from hw1.classify.classifiers import FinetunedClassifier, build_backbone, build_classifier, feature_width
from hw1.engine.card import Card, read_card
from hw1.engine.weights import load_weights
from hw1.run.errors import InputError
from hw1.segment.segmenters import build_segmenter

RESIDUAL = (convnext.CNBlock, resnet.BasicBlock, resnet.Bottleneck)  # blocks, each of them one part
WINDOW = {"kernel_size": "kernel", "stride": "stride", "padding": "padding", "dilation": "dilation"}  # in cells

Part = dict[str, Any]


def load_model(path: Path) -> tuple[nn.Module, Card]:
    """The network that a file of :func:`hw1.engine.card.save_model` holds, on the CPU, and its card.

    Raises:
        InputError: no such file, a damaged one, or no trained network of this project.
    """
    card = read_card(path)
    try:
        with torch.device("meta"):  # of any size, until the file's tensors are seen to have the same
            network = _build(card)
            if card.task != "segment":  # which takes images of any size
                network.eval()(torch.empty(1, 3, card.input_side, card.input_side))
    except (InputError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"{path}: its parameters describe no network of this project ({error})") from None
    load_weights(network, path, assign=True)
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        raise InputError(f"{path}: some of its weights are no numbers (NaN or infinite); train it again")
    return network.train(), card


def _build(card: Card) -> nn.Module:
    """The network, its weights not yet loaded: (N, 3, H, W) -> (N, >= classes) or (N, 7, H, W) logits."""
    if card.task == "classify":
        return build_classifier(card.training, card.classes)
    if card.task == "segment":
        return build_segmenter(card.training, card.classes)
    backbone = build_backbone(card.network)
    frozen = card.parameters[f"settings.{card.model}.train"] == "classifier"
    return FinetunedClassifier(backbone, feature_width(backbone), card.classes, frozen)


# -- what a network is made of, recorded while an image passes through it: drawings repeat none of it


def architecture(network: nn.Module, image: Tensor) -> dict[str, Any]:
    """The parts of a network in the order in which an image (1, 3, H, W) passes them, as plain JSON.

    ``input`` and ``output`` of the network and of each part are the sizes of one image's tensor. A part has ``name``
    (its path in the network), ``kind`` (its class) and, where it has such, ``trained`` (whether a parameter of it
    takes gradients), ``kernel``, ``stride``, ``padding``, ``dilation`` and ``dropped`` (a share). Residual blocks in a
    row are one part; its ``blocks`` say the same of each of them, by its convolution with the largest kernel, whose
    channels are its ``width``. A layer that is not called, since a function uses its weights, comes last and has
    neither input nor output. The network's state and mode stay as they are.
    """
    modules = dict(_modules(network))
    passed: list[Part] = []
    hooks = [module.register_forward_hook(_noting(passed, name)) for name, module in modules.items()]
    training = network.training
    try:
        with torch.no_grad():
            output = network.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
        network.train(training)
    called = {part["name"] for part in passed}
    uncalled = [_part(name, module) for name, module in modules.items() if name not in called]
    parts = [*_joined(passed), *(part for part in uncalled if "trained" in part)]
    return {"input": _sizes(image), "output": _sizes(output), "parts": parts}


def _modules(module: nn.Module, path: tuple[str, ...] = ()) -> Iterator[tuple[str, nn.Module]]:
    """Residual blocks and, outside of them, layers, by their paths."""
    children = list(module.named_children())
    if not children or isinstance(module, RESIDUAL):
        yield ".".join(path), module
        return
    for name, child in children:
        yield from _modules(child, (*path, name))


def _noting(passed: list[Part], name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        passed.append(_part(name, module) | {"input": _sizes(inputs[0]), "output": _sizes(output)})

    return hook


def _sizes(batch: Tensor) -> list[int]:
    return list(batch.shape[1:])


def _part(name: str, module: nn.Module) -> Part:
    part: Part = {"name": name, "kind": type(module).__name__}
    gradients = [parameter.requires_grad for parameter in module.parameters()]
    if gradients:
        part["trained"] = any(gradients)
    layer = module
    if isinstance(module, RESIDUAL):
        convolutions = [each for each in module.modules() if isinstance(each, nn.Conv2d)]
        layer = max(convolutions, key=lambda convolution: convolution.kernel_size)
        part["width"] = layer.out_channels
    part |= {short: _side(getattr(layer, long)) for long, short in WINDOW.items() if hasattr(layer, long)}
    return part | ({"dropped": layer.p} if isinstance(layer, nn.Dropout) else {})


def _side(window: int | tuple[int, int]) -> int:
    """Side of a square window; ValueError for another, which the drawings have no words for."""
    (side,) = {window} if isinstance(window, int) else set(window)
    return side


def _joined(passed: list[Part]) -> Iterator[Part]:
    """The parts, residual blocks that follow each other in one parent as one."""

    def row(numbered: tuple[int, Part]) -> str:
        number, part = numbered
        return part["name"].rpartition(".")[0] if "width" in part else str(number)

    for name, numbered in groupby(enumerate(passed), row):
        parts = [part for _, part in numbered]
        if "width" not in parts[0]:
            yield parts[0]
            continue
        shared = ("name", "kind", "input", "output")
        blocks = [{key: value for key, value in part.items() if key not in shared} for part in parts]
        ends = {"input": parts[0]["input"], "output": parts[-1]["output"]}
        yield {"name": name, "kind": parts[0]["kind"], **ends, "blocks": blocks}
