"""What the linear classifier and RankMe add to an epoch of each pre-training, at both presets' sizes."""

import dataclasses
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from benchmarks.byol import pretraining_of
from benchmarks.machine import machine, wait
from benchmarks.tables import Table
from benchmarks.timing import Contestant, race
from hw1.byol.probes import linear_scores, rankme
from hw1.classify.classification import classifier_loss
from hw1.classify.classifiers import FinetunedClassifier, build_backbone, feature_width
from hw1.engine.loop import fit
from hw1.engine.recipe import Recipe, Run
from hw1.images.batches import Batches
from hw1.run.parameters.params import Params, load
from hw1.run.tracking.tracking import Tracker
from hw1.statistics.published import COURSE_DATA

STEPS = 4  # of a training, in a round


@dataclass(frozen=True)
class Sizes:
    """A preset, and how many images its epoch has, and the fine-tuning data, of so many classes."""

    preset: str
    mini: int
    office: int
    validation: int
    classes: int

    @property
    def params(self) -> Params:
        return load(f"presets/{self.preset}.yaml")


def sizes() -> list[Sizes]:
    drawn, course = load("presets/quick.yaml").synthetic, COURSE_DATA["office"]
    quick = (drawn.mini.train, drawn.office.train, drawn.office.validation, drawn.office.classes)
    paper = (COURSE_DATA["mini"]["train"], course["train"], course["validation"], course["classes"])
    return [Sizes("quick", *quick), Sizes("paper", *paper)]


def judging(of: Sizes) -> Contestant:
    """Both on features that are there, as they are for the neighbours; a round is one epoch's."""
    device, width = machine().device, feature_width(build_backbone(of.params.backbone))
    draw = torch.Generator().manual_seed(0)
    kinds = torch.rand(of.classes, width, generator=draw)
    counts = (of.office, of.validation, min(of.mini, of.params.pretrain.probes.images))
    labels = [torch.arange(count) % of.classes for count in counts]
    # As after a ReLU and an average: never negative, classes apart and yet mixed.
    seen = [(kinds[names] + torch.randn(len(names), width, generator=draw)).relu().to(device) for names in labels]
    known = labels[0].to(device)

    def run() -> float:
        linear_scores(seen[0], known, seen[1])
        rankme(seen[2])
        wait(device)
        return 1

    return run


def byol(of: Sizes) -> Contestant:
    training = dataclasses.replace(of.params.pretrain.byol, epochs=1)
    images = noise(of, training.batch_size)
    return pretraining_of(of.params.backbone, training, images, machine(precision(of)), Tracker("byol"))


def supervised(of: Sizes) -> Contestant:
    training, place = dataclasses.replace(of.params.pretrain.supervised, epochs=1), machine(precision(of))
    images, backbone = noise(of, training.batch_size), build_backbone(of.params.backbone)
    network = place.place(FinetunedClassifier(backbone, feature_width(backbone), of.classes, frozen=False))
    batches, draw = Batches(images, np.arange(len(images)) % of.classes, training.batch_size, place), torch.Generator()
    recipe = Recipe(network, batches, classifier_loss(network, training, draw), training, "supervised")

    def run() -> float:
        fit(recipe, Run(place, draw, Tracker("supervised")))
        return len(images)

    return run


def noise(of: Sizes, batch_size: int) -> np.ndarray:
    side = of.params.prepare.mini.crop
    return np.random.default_rng(0).integers(0, 256, (STEPS * batch_size, side, side, 3), np.uint8)


def precision(of: Sizes) -> str:
    return of.params.runtime.precision


def probing(rounds: int) -> list[Table]:
    table = Table(
        "Linear classifier and RankMe, each epoch",
        ("preset, pre-training", "both", "an epoch's steps", "share"),
        note=f"An epoch's steps: all images by the speed of {STEPS} steps. Features of noise around a point for each "
        "class. What the neighbours cost, whose features these are, is not in it.",
    )
    for of in sizes():
        contestants = {name: partial(setup, of) for name, setup in (("both", judging), ("BYOL", byol))}
        speeds = race(contestants | {"supervised": partial(supervised, of)}, rounds)
        seconds = 1 / speeds["both"].median
        for name in ("BYOL", "supervised"):
            epoch = of.mini / speeds[name].median
            table.add(f"{of.preset}, {name}", f"{seconds:.3f} s", f"{epoch:,.1f} s", f"{100 * seconds / epoch:.2f} %")
    return [table]
