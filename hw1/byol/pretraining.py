"""What the loop needs to pre-train a backbone, by labels or by BYOL, and a look at its features each epoch."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hw1.byol.byol import Byol, ema_decay, projection_std
from hw1.byol.knn import Probe
from hw1.byol.view_norm import VIEWS
from hw1.classify.classification import TRAIN_COLUMNS, classifier_loss, labelled_batches
from hw1.classify.classifiers import FinetunedClassifier, feature_width
from hw1.data.arrays import Manifest, load_array
from hw1.engine.loop import LossOf, Row
from hw1.images.augment import augment
from hw1.images.batches import Batches
from hw1.images.machine import Machine
from hw1.run.errors import InputError
from hw1.run.params import ByolTraining, Knn, Params, Supervised
from hw1.run.ranks import world

COLUMNS = ("epoch", "lr", "ema", "loss", "projection_std", "gradient_norm", "spread", "collapsed")
QUERY = 5  # a fifth of mini's images is looked up among the others
WATCHING = ("pretrain.knn", "pretrain.byol.collapse_spread", "pretrain.byol.on_collapse")  # change no weights
PROBE_BATCH = 256  # images


@dataclass(frozen=True)
class Recipe:
    """A pre-training as the loop takes it; ``hooks`` are what else :func:`hw1.engine.loop.fit` is given."""

    network: nn.Module
    batches: Batches
    loss_of: LossOf
    training: Supervised | ByolTraining
    hooks: dict[str, Any] = field(default_factory=dict)


def supervised_recipe(
    backbone: nn.Module, params: Params, data: Path, machine: Machine, generator: torch.Generator
) -> Recipe:
    """The backbone under a linear classifier, by the labels of mini; InputError where it has none."""
    training = params.pretrain.supervised
    manifest = Manifest.load(data)
    if not manifest.classes:
        raise InputError(
            "pretrain.supervised (settings B and D): the archive has neither pretrain_model_SL.pt nor "
            "p2_data/mini/train.csv; add one of them, set data.weights, or run the other stages with "
            "`dvc repro --keep-going`"
        )
    network = machine.place(
        FinetunedClassifier(backbone, feature_width(backbone), manifest.classes, frozen=False), "backbone"
    )
    batches = labelled_batches(data, "train", training.batch_size, machine)
    return Recipe(network, batches, classifier_loss(network, training, generator), training)


def byol_recipe(
    backbone: nn.Module, params: Params, data: Path, machine: Machine, generator: torch.Generator
) -> Recipe:
    """BYOL around the backbone, by the images of mini alone."""
    training = params.pretrain.byol
    network = machine.place(Byol(backbone, feature_width(backbone), training.hidden, training.projection), "backbone")
    batches = Batches(load_array(data, "train_images"), None, training.batch_size, machine)
    hooks = {
        "after_step": target_update(network, training),
        "after_epoch": collapse_watch(training),
        "gradient_norm": True,
    }
    return Recipe(network, batches, byol_loss_of(network, training, generator), training, hooks)


def byol_loss_of(network: Byol, training: ByolTraining, generator: torch.Generator) -> LossOf:
    """Loss of two views of each image (n, 3, H, W) uint8, each augmented with its own draws; a rank's part of it."""

    def loss_of(images: Tensor, _: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss, projections = network(augment(training.augmentation, images, generator, VIEWS))
        return loss, {"loss": loss.detach(), "projection_std": projection_std(projections) / world()}

    return loss_of


def target_update(network: Byol, training: ByolTraining) -> Callable[[int, int], Row]:
    """Move the target after each step; records the decay used as ``ema``."""

    def after_step(step: int, steps: int) -> Row:
        decay = ema_decay(training.ema, step, steps)
        network.update_target(decay)
        return {"ema": decay}

    return after_step


class Monitor:
    """Nearest-neighbour accuracy of a backbone's features, before its training (``start``) and after each epoch.

    On the fine-tuning images, train and validation; and on the pre-training images, where they have labels,
    ``params.images`` of them at most, drawn at random.
    """

    def __init__(self, backbone: nn.Module, mini: Path, office: Path, params: Knn, machine: Machine):
        self._backbone, self._neighbours, self._machine = backbone, params.neighbours, machine
        office_splits = (labelled_batches(office, split, PROBE_BATCH, machine) for split in ("train", "validation"))
        self._probes = {"knn_office": Probe(*office_splits)}
        manifest = Manifest.load(mini)
        if manifest.classes:
            chosen = np.random.default_rng(0).permutation(len(manifest.train))[: params.images]
            images, labels = load_array(mini, "train_images"), load_array(mini, "train_labels")
            parts = (np.sort(part) for part in np.split(chosen, [len(chosen) - len(chosen) // QUERY]))
            self._probes["knn_mini"] = Probe(*(Batches(images[i], labels[i], PROBE_BATCH, machine) for i in parts))
        self.start = self()

    @property
    def columns(self) -> tuple[str, ...]:
        """The history's."""
        return tuple(self._probes)

    def __call__(self) -> Row:
        """Accuracies of the backbone as it is now."""
        return {
            name: probe.accuracy(self._backbone, self._neighbours, self._machine)
            for name, probe in self._probes.items()
        }

    def headline(self, rows: list[Row]) -> dict[str, float]:
        """The last epoch's numbers, beside the accuracies before the training."""
        last = rows[-1] if rows else self.start
        numbers = {name: round(last[name], 6) for name in (*self._probes, "spread", "collapsed") if name in last}
        if "collapsed" in last:
            numbers["collapsed_epochs"] = sum(row["collapsed"] for row in rows)
        return numbers | {f"{name}_at_start": round(value, 6) for name, value in self.start.items()}


def collapse_watch(training: ByolTraining) -> Callable[[Mapping[str, float]], Row]:
    """What the loop calls with the row of an epoch: adds how far the projections spread, and whether they collapsed.

    ``spread`` is the std of the normalised projections as a share of 1/sqrt(d), what it is when they point in all
    directions alike; they count as collapsed below ``collapse_spread``. Told once on stderr.

    Raises:
        InputError: they collapsed and ``on_collapse`` is stop.
    """
    stops, told = training.on_collapse == "stop", False

    def after_epoch(row: Mapping[str, float]) -> Row:
        nonlocal told
        spread = row["projection_std"] * training.projection**0.5
        collapsed = spread < training.collapse_spread
        if collapsed:
            text = (
                f"pretrain.byol: the projections collapsed: in epoch {row['epoch']:.0f} their spread is {spread:.3f} "
                f"of what it is evenly, below collapse_spread ({training.collapse_spread:g})"
            )
            if stops:
                raise InputError(f"{text}; lower pretrain.byol.lr, or go on with on_collapse: warn")
            if not told:
                print(f"warning: {text}; its features may be worth nothing", file=sys.stderr)
            told = True
        return {"spread": spread, "collapsed": float(collapsed)}

    return after_epoch


@dataclass(frozen=True)
class Method:
    """A way to pre-train: its recipe, and the columns of its history."""

    recipe: Callable[[nn.Module, Params, Path, Machine, torch.Generator], Recipe]
    columns: tuple[str, ...]


METHODS = {"supervised": Method(supervised_recipe, TRAIN_COLUMNS), "byol": Method(byol_recipe, COLUMNS)}
