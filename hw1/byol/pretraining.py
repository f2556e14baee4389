"""The two ways to pre-train a backbone: by labels, or by BYOL."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from hw1.byol.byol import VIEWS, Byol, ema_decay, projection_std
from hw1.byol.given import load_given
from hw1.byol.probes import Monitor
from hw1.classify.classification import TRAIN_COLUMNS, labels_recipe
from hw1.classify.classifiers import FinetunedClassifier, build_backbone, feature_width
from hw1.data.arrays import GIVEN_WEIGHTS, load_array
from hw1.engine.loop import write_history
from hw1.engine.recipe import LossOf, Recipe, Row, Run
from hw1.engine.weights import load_weights, save_weights
from hw1.images.augment import augment
from hw1.images.batches import Batches
from hw1.images.input import AS_STORED
from hw1.images.machine import Machine
from hw1.run.errors import InputError
from hw1.run.parameters.params import ByolTraining, Params
from hw1.run.processes.ranks import world

COLUMNS = ("epoch", "lr", "ema", "loss", "projection_std", "gradient_norm", "spread", "collapsed")
WATCHING = ("pretrain.probes", "pretrain.byol.collapse_spread", "pretrain.byol.on_collapse")  # change no weights
UNLABELLED = (
    "pretrain.supervised (settings B and D): the archive has neither pretrain_model_SL.pt nor p2_data/mini/train.csv; "
    "add one of them, set data.weights, or run the other stages with `dvc repro --keep-going`"
)


def given_weights(mini: Path) -> Path | None:
    """The supervised backbone that the archive brings, if it does."""
    path = mini / GIVEN_WEIGHTS
    return path if path.is_file() else None


def starting_backbone(name: str, given: Path | None, start: Path, machine: Machine) -> nn.Module:
    """The backbone ``name`` on the device, with the ``given`` weights or those it starts from."""
    backbone = machine.place(build_backbone(name), "backbone")
    if given:
        for note in load_given(backbone, given, name.replace("resnet", "ResNet"), drop=("fc.",)):
            print(f"{given}: {note}", file=sys.stderr)
    else:
        load_weights(backbone, start)
    return backbone


def supervised_recipe(backbone: nn.Module, params: Params, data: Path, monitor: Monitor, run: Run) -> Recipe:
    """The backbone under a linear classifier, by the labels of mini; InputError where it has none."""
    classes = run.manifest.classes
    if not classes:
        raise InputError(UNLABELLED)
    classifier = FinetunedClassifier(backbone, feature_width(backbone), classes, frozen=False)
    network = run.machine.place(classifier, "backbone")
    recipe = labels_recipe(network, params.pretrain.supervised, "pretrain.supervised", data, run)
    return replace(recipe, validate=monitor)


def byol_recipe(backbone: nn.Module, params: Params, data: Path, monitor: Monitor, run: Run) -> Recipe:
    """BYOL around the backbone, by the images of mini alone."""
    training = params.pretrain.byol
    byol = Byol(backbone, feature_width(backbone), training.hidden, training.projection)
    network = run.machine.place(byol, "backbone")
    batches = Batches(load_array(data, "train_images"), None, training.batch_size, run.machine)
    return replace(byol_training(network, batches, training, run.generator), validate=monitor)


def byol_training(network: Byol, batches: Batches, training: ByolTraining, generator: torch.Generator) -> Recipe:
    """BYOL of a network on unlabelled images; each step's decay is recorded as ``ema``."""

    def update_target(step: int, steps: int) -> Row:
        decay = ema_decay(training.ema, step, steps)
        network.update_target(decay)
        return {"ema": decay}

    return Recipe(
        network=network,
        batches=batches,
        loss_of=byol_loss_of(network, training, generator),
        training=training,
        section="pretrain.byol",
        after_step=update_target,
        after_epoch=collapse_watch(training),
        gradient_norm=True,
    )


def byol_loss_of(network: Byol, training: ByolTraining, generator: torch.Generator) -> LossOf:
    """Loss of two views of each image (n, 3, H, W) uint8, each augmented with its own draws; a rank's part of it."""

    def two_views(images: Tensor) -> Tensor:
        return augment(training.augmentation, images, generator, VIEWS)

    def loss_of(images: Tensor, _: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss, projections = network(AS_STORED(images, two_views))
        return loss, {"loss": loss.detach(), "projection_std": projection_std(projections) / world()}

    return loss_of


def collapse_watch(training: ByolTraining) -> Callable[[Row, Sequence[Row]], Row]:
    """A function of an epoch's row: how far the projections spread, and whether they collapsed.

    ``spread`` is the std of the normalised projections as a share of 1/sqrt(d), what it is when they point in all
    directions alike; they count as collapsed below ``collapse_spread``. The user is warned once.

    Raises:
        InputError: they collapsed and ``on_collapse`` is stop.
    """
    stops, warned = training.on_collapse == "stop", False

    def after_epoch(row: Row, _: Sequence[Row]) -> Row:
        nonlocal warned
        spread = row["projection_std"] * training.projection**0.5
        collapsed = spread < training.collapse_spread
        if collapsed:
            fault = (
                f"pretrain.byol: the projections collapsed: in epoch {row['epoch']:.0f} their spread is {spread:.3f} "
                f"of what it is evenly, below collapse_spread ({training.collapse_spread:g})"
            )
            if stops:
                raise InputError(f"{fault}; lower pretrain.byol.lr, or go on with on_collapse: warn")
            if not warned:
                print(f"warning: {fault}; its features may be worth nothing", file=sys.stderr)
            warned = True
        return {"spread": spread, "collapsed": float(collapsed)}

    return after_epoch


@dataclass(frozen=True)
class Method:
    """A way to pre-train: its recipe, and the columns of its history before the probes'."""

    recipe: Callable[[nn.Module, Params, Path, Monitor, Run], Recipe]
    columns: tuple[str, ...]


METHODS = {"supervised": Method(supervised_recipe, TRAIN_COLUMNS), "byol": Method(byol_recipe, COLUMNS)}


def write_outputs(rows: list[Row], backbone: nn.Module, method: Method, monitor: Monitor, run: Run) -> None:
    """Write the backbone with what determines it, the history, and the headline numbers; given weights have no
    ``rows``.
    """
    determining = {key: value for key, value in run.used.items() if not key.startswith(WATCHING)}
    metadata = {"stage": run.stage, "network": run.used["backbone"], "parameters": determining}
    save_weights(backbone, run.drafts["weights"], metadata)
    write_history(rows, (*method.columns, *monitor.columns), run)
    run.drafts["metrics"].write_text(json.dumps(monitor.headline(rows), indent=2) + "\n")
