"""What the loop needs to train BYOL: the loss of a batch of images without labels, the target's update."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hw1.data.arrays import Manifest, load_array
from hw1.data.augment import augment
from hw1.data.batches import Batches
from hw1.errors import InputError
from hw1.models.byol import Byol as ByolNetwork
from hw1.models.byol import ema_decay, projection_std
from hw1.params import Byol
from hw1.runtime import Machine
from hw1.train.loop import LossOf, Row

COLUMNS = ("epoch", "lr", "ema", "loss", "projection_std")


def labelled_classes(mini: Manifest) -> int:
    """Classes of the pre-training images; InputError where the archive has no labels for them."""
    if not mini.classes:
        raise InputError(
            "pretrain.supervised (settings B and D): the archive has neither pretrain_model_SL.pt nor "
            "p2_data/mini/train.csv; add one of them, set data.weights, or run the other stages with "
            "`dvc repro --keep-going`"
        )
    return mini.classes


def unlabelled_batches(data: Path, batch_size: int, machine: Machine) -> Batches:
    """The pre-training images, their labels left aside."""
    return Batches(load_array(data, "train_images"), None, batch_size, machine)


def byol_loss_of(network: ByolNetwork, training: Byol, generator: torch.Generator) -> LossOf:
    """Loss of two views of each image (n, 3, H, W) uint8, each augmented with its own draws."""

    def loss_of(images: Tensor, _: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        views = (augment(training.augmentation, images, generator) for _ in range(2))
        loss, projections = network(*views)
        return loss, {"loss": loss.detach(), "projection_std": projection_std(projections)}

    return loss_of


def target_update(network: ByolNetwork, training: Byol) -> Callable[[int, int], Row]:
    """Move the target after each step; records the decay used as ``ema``."""

    def after_step(step: int, steps: int) -> Row:
        decay = ema_decay(training.ema, step, steps)
        network.update_target(decay)
        return {"ema": decay}

    return after_step
