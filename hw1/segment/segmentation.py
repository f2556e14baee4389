"""The training of a segmenter: batches, the loss of a batch, the scores after an epoch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hw1.data.arrays import load_array, load_masks
from hw1.data.classes import LAND_COVER, UNKNOWN
from hw1.engine.metrics import mean_iou
from hw1.engine.recipe import LossOf, Recipe, Row, Run
from hw1.engine.validation import segment
from hw1.engine.weights import load_start
from hw1.images.augment import color_jitter, flip
from hw1.images.batches import Batches
from hw1.images.input import AS_STORED
from hw1.images.machine import Machine
from hw1.images.shares import add_up
from hw1.run.parameters.params import Params, Segmenter
from hw1.segment.focal import segment_loss
from hw1.segment.segmenters import build_segmenter

COLUMNS = ("epoch", "lr", "train_loss", "val_loss", "val_miou")


def p3_recipe(params: Params, model: str, data: Path, start: Path, run: Run) -> Recipe:
    """Model A or B of problem 3 on the prepared p3."""
    training, section = getattr(params.segment, model), f"segment.{model}"
    network = build_segmenter(training, len(LAND_COVER), load_start(start, training.weights))
    network = run.machine.place(network, f"{section}.width")
    train, validation = (
        tile_batches(data, split, training.batch_size, run.machine) for split in ("train", "validation")
    )
    truth = load_masks(data, "validation")
    return Recipe(
        network=network,
        batches=train,
        loss_of=segmenter_loss(network, training, run.generator),
        training=training,
        lr=training.lr,
        section=section,
        columns=COLUMNS,
        score="val_miou",
        validate=segmenter_scores(network, validation, truth, training, run.machine),
    )


def tile_batches(data: Path, split: str, batch_size: int, machine: Machine) -> Batches:
    """Square tiles of a prepared split, with their masks in ``train``; validation masks have sizes of their own."""
    images = load_array(data, f"{split}_images")
    masks = load_array(data, "train_masks") if split == "train" else None
    return Batches(images, masks, batch_size, machine)


def segmenter_loss(network: nn.Module, training: Segmenter, generator: torch.Generator) -> LossOf:
    """Loss of a batch of tiles (n, 3, S, S) uint8 and masks (n, S, S) uint8, augmented anew; a rank's part of it."""
    pixel_loss = segment_loss(training)

    def jittered(images: Tensor) -> Tensor:
        return color_jitter(images, training.color_jitter, generator)

    def loss_of(images: Tensor, masks: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        known = add_up((masks != UNKNOWN).sum())
        images, masks = flip(images, masks, training.horizontal_flip, training.vertical_flip, generator)
        logits = network(AS_STORED(images, jittered))
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
