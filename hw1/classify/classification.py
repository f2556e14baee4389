"""What the loop needs to train a classifier: batches, the loss of a batch, the scores after an epoch."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from hw1.data.arrays import load_array
from hw1.engine.loop import LossOf, Row
from hw1.engine.losses import LOSSES, correct
from hw1.engine.metrics import accuracy
from hw1.engine.validation import View, classify, stored
from hw1.images.augment import augment
from hw1.images.batches import Batches
from hw1.images.machine import Machine
from hw1.images.shares import share_of
from hw1.run.params import ConvNeXt, Finetune, SmallCnn, Supervised

TRAIN_COLUMNS = ("epoch", "lr", "train_loss", "train_accuracy")
COLUMNS = (*TRAIN_COLUMNS, "val_loss", "val_accuracy")


def labelled_batches(data: Path, split: str, batch_size: int, machine: Machine) -> Batches:
    """Images and labels of a prepared split."""
    images, labels = load_array(data, f"{split}_images"), load_array(data, f"{split}_labels")
    return Batches(images, labels, batch_size, machine)


def classifier_loss(
    network: nn.Module,
    training: SmallCnn | ConvNeXt | Finetune | Supervised,
    generator: torch.Generator,
    view: View = stored,
) -> LossOf:
    """Loss of a batch of stored images (n, 3, H, W) uint8, augmented anew each time; a rank's part of it."""
    loss_function = LOSSES[training.loss]

    def loss_of(images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        batch = share_of(images).total
        logits = network(augment(training.augmentation, view(images), generator))
        loss = loss_function(logits, labels, batch)
        return loss, {"train_loss": loss.detach(), "train_accuracy": correct(logits, labels, batch)}

    return loss_of


def classifier_scores(
    network: nn.Module, batches: Batches, machine: Machine, classes: int, view: View = stored
) -> Callable[[], Row]:
    """A function of no arguments: val_loss and val_accuracy of the network as it is then."""

    def scores() -> Row:
        seen = classify(network, batches, machine, classes, view)
        return {"val_loss": seen.loss, "val_accuracy": accuracy(seen.confusion(classes))}

    return scores
