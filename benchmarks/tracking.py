"""What the record costs a training, with MLflow's database and with a server that refuses or hangs."""

import dataclasses
import os
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import machine, scale
from benchmarks.tables import Table
from benchmarks.timing import Contestant, race
from hw1.classify.classification import classifier_loss
from hw1.classify.classifiers import FinetunedClassifier, build_backbone, feature_width
from hw1.engine.loop import fit
from hw1.engine.recipe import Recipe, Run
from hw1.images.batches import Batches
from hw1.run.parameters.params import load
from hw1.run.tracking.tracking import Tracker

BATCHES = 12  # an epoch: about as long as one of the quick preset's fine-tunings
EPOCHS = 8
SIZE = 64  # pixels
CLASSES = 10


def _refusing() -> str:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))  # not listening
    return _address(server)


def _hanging() -> str:
    return _address(socket.create_server(("127.0.0.1", 0)))  # the kernel accepts, nobody answers


def _address(server: socket.socket) -> str:
    """Its URL; it stays open as long as this process."""
    host, port = server.getsockname()
    server.detach()
    return f"http://{host}:{port}"


SERVERS: dict[str, Callable[[], str]] = {
    "off": str,
    "database": str,
    "server that refuses": _refusing,
    "server that hangs": _hanging,
}


def stage(name: str) -> Contestant:
    """A training with its record, from the run's start to its end; counts epochs."""
    os.environ["DVC_ROOT"] = tempfile.mkdtemp(prefix="hw1-tracking-")
    if name != "off":
        del os.environ["HW1_TRACKING"]
    os.environ["MLFLOW_TRACKING_URI"] = SERVERS[name]()
    place, count = machine(), BATCHES * scale().batch
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8), draw.integers(0, CLASSES, count)
    backbone = build_backbone("resnet18")
    network = place.place(FinetunedClassifier(backbone, feature_width(backbone), CLASSES, frozen=False))
    training = dataclasses.replace(
        load("presets/quick.yaml").finetuning("A"), epochs=EPOCHS, batch_size=scale().batch, augmentation="none"
    )
    batches, generator = Batches(images, labels, scale().batch, place), torch.Generator().manual_seed(0)
    recipe = Recipe(network, batches, classifier_loss(network, training, generator), training, "finetune")

    def run() -> float:
        with Tracker.start("benchmark", {"lr": 1e-4}, {}) as tracker:
            fit(recipe, Run(place, generator, tracker))
        for events in Path(os.environ["DVC_ROOT"]).glob(".mlflow/*.jsonl"):
            events.unlink()  # or it would be sent during the next contestant's round
        return EPOCHS

    return run


def tracking(rounds: int) -> list[Table]:
    speeds = race({name: partial(stage, name) for name in SERVERS}, rounds)
    table = Table(
        "Cost of the record",
        ("MLflow", "seconds an epoch", "of them for the record"),
        note=f"ResNet18 at {SIZE} px, {BATCHES} batches of {scale().batch} an epoch; trainings of {EPOCHS} epochs from "
        "the start of their run to its end, medians over alternating ones; the cost is against those without a record.",
    )
    without = 1 / speeds["off"].median
    for name, speed in speeds.items():
        seconds = 1 / speed.median
        table.add(name, f"{seconds:.3f}", "" if name == "off" else f"{seconds / without - 1:+.1%}")
    return [table]
