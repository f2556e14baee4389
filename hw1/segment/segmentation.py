"""What the loop needs to train a segmenter: batches, the loss of a batch, the scores after an epoch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hw1.data.arrays import load_array
from hw1.data.classes import UNKNOWN
from hw1.engine.loop import LossOf, Row
from hw1.engine.metrics import mean_iou
from hw1.engine.validation import segment
from hw1.images.augment import color_jitter, flip, normalise
from hw1.images.batches import Batches
from hw1.images.machine import Machine
from hw1.images.shares import add_up
from hw1.run.params import Segmenter
from hw1.segment.focal import segment_loss

COLUMNS = ("epoch", "lr", "train_loss", "val_loss", "val_miou")


def tile_batches(data: Path, split: str, batch_size: int, machine: Machine) -> Batches:
    """Square tiles of a prepared split, with their masks in ``train``; validation masks have sizes of their own."""
    images = load_array(data, f"{split}_images")
    masks = load_array(data, "train_masks") if split == "train" else None
    return Batches(images, masks, batch_size, machine)


def segmenter_loss(network: nn.Module, training: Segmenter, generator: torch.Generator) -> LossOf:
    """Loss of a batch of tiles (n, 3, S, S) uint8 and masks (n, S, S) uint8, augmented anew; a rank's part of it."""
    pixel_loss = segment_loss(training)

    def loss_of(images: Tensor, masks: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        known = add_up((masks != UNKNOWN).sum())
        images, masks = flip(images, masks, training.horizontal_flip, training.vertical_flip, generator)
        logits = network(normalise(color_jitter(images, training.color_jitter, generator)))
        loss = pixel_loss(logits, masks, known)
        return loss, {"train_loss": loss.detach()}

    return loss_of


def segmenter_scores(
    network: nn.Module, batches: Batches, masks: Sequence[np.ndarray], training: Segmenter, machine: Machine
) -> Callable[[], Row]:
    """A function of no arguments: val_loss and val_miou of the network as it is then."""

    def scores() -> Row:
        loss, confusions = segment(network, batches, masks, machine, segment_loss(training))
        return {"val_loss": loss, "val_miou": mean_iou(confusions.sum(0))}

    return scores
