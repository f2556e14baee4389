"""The training of a classifier: of problem 1's networks, and of a backbone under a classifier in problem 2."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from hw1.classify.classifiers import FinetunedClassifier, build_backbone, build_classifier, feature_width
from hw1.engine.metrics import accuracy, correct, cross_entropy
from hw1.engine.recipe import LossOf, Recipe, Row, Run
from hw1.engine.validation import classify
from hw1.engine.weights import load_start, load_weights
from hw1.images.augment import augment
from hw1.images.batches import Batches
from hw1.images.input import AS_STORED, NetworkInput, input_of
from hw1.images.machine import Machine
from hw1.images.shares import share_of
from hw1.run.parameters.params import Params, Supervised

TRAIN_COLUMNS = ("epoch", "lr", "train_loss", "train_accuracy")
COLUMNS = (*TRAIN_COLUMNS, "val_loss", "val_accuracy")


def p1_recipe(params: Params, model: str, data: Path, start: Path, run: Run) -> Recipe:
    """Model A or B of problem 1 on the prepared p1."""
    training, section = getattr(params.classify, model), f"classify.{model}"
    weights = load_start(start, getattr(training, "weights", "none"))
    network = build_classifier(training, run.manifest.classes, weights)
    return _recipe(run.machine.place(network, f"{section}.hidden"), data, training, section, run)


def p2_recipe(params: Params, setting: str, data: Path, start: Path, run: Run) -> Recipe:
    """A setting of problem 2 on the prepared office, its backbone from the weights ``start``."""
    backbone = build_backbone(params.backbone)
    load_weights(backbone, start)
    frozen = params.setting(setting).train == "classifier"
    network = FinetunedClassifier(backbone, feature_width(backbone), run.manifest.classes, frozen)
    return _recipe(run.machine.place(network, "backbone"), data, params.finetuning(setting), "finetune", run)


def labels_recipe(network: nn.Module, training: Supervised, section: str, data: Path, run: Run) -> Recipe:
    """A network, placed on the device, on the images and labels of prepared data; nothing is validated."""
    return Recipe(
        network=network,
        batches=Batches.labelled(data, "train", training.batch_size, run.machine),
        loss_of=classifier_loss(network, training, run.generator),
        training=training,
        section=section,
        columns=TRAIN_COLUMNS,
    )


def _recipe(network: nn.Module, data: Path, training: Supervised, section: str, run: Run) -> Recipe:
    validation = Batches.labelled(data, "validation", training.batch_size, run.machine)
    return replace(
        labels_recipe(network, training, section, data, run),
        columns=COLUMNS,
        score="val_accuracy",
        validate=classifier_scores(network, validation, run.machine, run.manifest.classes, input_of(training)),
    )


def classifier_loss(network: nn.Module, training: Supervised, generator: torch.Generator) -> LossOf:
    """Loss of a batch of stored images (n, 3, H, W) uint8, augmented anew each time; a rank's part of it."""
    fed = input_of(training)

    def augmented(images: Tensor) -> Tensor:
        return augment(training.augmentation, images, generator)

    def loss_of(images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        batch = share_of(images).total
        logits = network(fed(images, augmented))
        loss = cross_entropy(logits, labels, batch)
        return loss, {"train_loss": loss.detach(), "train_accuracy": correct(logits, labels, batch)}

    return loss_of


def classifier_scores(
    network: nn.Module, batches: Batches, machine: Machine, classes: int, fed: NetworkInput = AS_STORED
) -> Callable[[], Row]:
    """A function of no arguments: val_loss and val_accuracy of the network as it is then."""

    def scores() -> Row:
        seen = classify(network, batches, machine, classes, fed)
        return {"val_loss": seen.loss, "val_accuracy": accuracy(seen.confusion(classes))}

    return scores
