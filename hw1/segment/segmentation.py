"""The training of a segmenter: its loss, focal loss, of which cross entropy is a case, and its scores."""

from collections.abc import Callable, Sequence
from functools import partial
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
from hw1.images.shares import all_reduce
from hw1.run.parameters.params import Params, Segmenter
from hw1.segment.segmenters import build_segmenter

COLUMNS = ("epoch", "lr", "train_loss", "val_loss", "val_miou")


def p3_recipe(params: Params, model: str, data: Path, start: Path, run: Run) -> Recipe:
    """Model A or B of problem 3 on the prepared p3."""
    training, section = getattr(params.segment, model), f"segment.{model}"
    network = build_segmenter(training, len(LAND_COVER), load_start(start, training.weights))
    network = run.machine.place(network, f"{section}.width")
    images, masks = load_array(data, "train_images"), load_array(data, "train_masks")
    # Validation masks have sizes of their own.
    validation = Batches(load_array(data, "validation_images"), None, training.batch_size, run.machine)
    truth = load_masks(data, "validation")
    return Recipe(
        network=network,
        batches=Batches(images, masks, training.batch_size, run.machine),
        loss_of=segmenter_loss(network, training, run.generator),
        training=training,
        section=section,
        columns=COLUMNS,
        score="val_miou",
        validate=segmenter_scores(network, validation, truth, training, run.machine),
    )


def segmenter_loss(network: nn.Module, training: Segmenter, generator: torch.Generator) -> LossOf:
    """Loss of a batch of tiles (n, 3, S, S) uint8 and masks (n, S, S) uint8, augmented anew; a rank's part of it."""
    pixel_loss = segment_loss(training)

    def jittered(images: Tensor) -> Tensor:
        return color_jitter(images, training.color_jitter, generator)

    def loss_of(images: Tensor, masks: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        known = all_reduce((masks != UNKNOWN).sum())
        images, masks = flip(images, masks, training.horizontal_flip, training.vertical_flip, generator)
        loss = pixel_loss(network(AS_STORED(images, jittered)), masks, known)
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


def segment_loss(training: Segmenter) -> Callable[..., Tensor]:
    """The loss a section of ``segment`` names, see :func:`focal_loss`: logits, masks, count or none -> scalar."""
    alpha, gamma = (1.0, 0.0) if training.loss == "cross_entropy" else (training.focal_alpha, training.focal_gamma)
    return partial(focal_loss, alpha=alpha, gamma=gamma, ignore=UNKNOWN)


def focal_loss(
    logits: Tensor, masks: Tensor, count: Tensor | None = None, *, alpha: float, gamma: float, ignore: int
) -> Tensor:
    """Mean over the pixels whose class is not ``ignore`` of -alpha (1 - p)^gamma log p, p the true class's probability.

    logits (N, K, H, W), masks (N, H, W) uint8 -> scalar; zero if all pixels are ignored. Lin et al. 2017
    (arXiv:1708.02002); alpha 1 and gamma 0 make it cross entropy. Written with gather, whose backward
    pass can be deterministic on a GPU where NLLLoss2d's cannot.

    ``count``: the pixels, not ignored, of the batch of which these tiles are a share; the shares' results add up
    to its mean.
    """
    known = masks != ignore
    target = masks.long().where(known, 0).unsqueeze(1)  # (N, 1, H, W)
    log_p = logits.float().log_softmax(1).gather(1, target).squeeze(1)
    # The clamp keeps the slope finite where p rounds to 1 and gamma is below 1.
    weight = (1 - log_p.exp()).clamp(min=1e-6) ** gamma
    return (-alpha * weight * log_p * known).sum() / (known.sum() if count is None else count).clamp(min=1)
