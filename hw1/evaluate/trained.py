"""Trained networks built and fed as the card in their weights' file says, from the file alone."""

from pathlib import Path

import torch
from torch import nn

from hw1.classify.classifiers import FinetunedClassifier, build_backbone, build_classifier, feature_width
from hw1.engine.card import Card, read_card
from hw1.engine.weights import load_weights
from hw1.run.errors import InputError
from hw1.segment.segmenters import build_segmenter


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
