"""What portable numerics cost: the quick preset's trainings, native on every core, portable on one thread, two at once.

``python -m benchmarks.numerics KIND NUMERICS THREADS`` is one of the processes that take part: it trains for a round
whenever a line comes in, and answers with images a second.
"""

import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hw1.run.processes.numerics import pin

if TYPE_CHECKING:
    from benchmarks.tables import Table

KINDS = {  # images of a round
    "small CNN": 160,
    "ConvNeXt": 640,
    "ResNet10, full": 192,
    "ResNet10, frozen": 640,
    "BYOL, ResNet10": 96,
    "FCN32s": 48,
    "DeepLabv3": 16,
}
AT_ONCE = 2  # portable trainings, one thread each


class Racer:
    """A process that trains one kind when it is told to."""

    def __init__(self, kind: str, numerics: str, threads: int):
        command = [sys.executable, "-m", "benchmarks.numerics", kind, numerics, str(threads)]
        environment = os.environ | {"HW1_TRACKING": "off"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.result()  # of the round that warms up

    def go(self) -> None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> float:
        return float(self._process.stdout.readline())

    def end(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def numerics(rounds: int) -> "list[Table]":
    """Each kind: native with a thread for each core, portable with one thread, and two of these at once."""
    from benchmarks.tables import Table

    cores = os.cpu_count() or 1
    table = Table(
        "Portable numerics, the quick preset's trainings, images/s",
        ("", f"native, {cores} threads", "portable, 1 thread", "two portable at once", "two portable / native"),
        note=f"Medians of {rounds} alternating rounds; in a round the two at once begin together.",
    )
    for kind in KINDS:
        native, *portable = (Racer(kind, "native", cores), *(Racer(kind, "portable", 1) for _ in range(AT_ONCE)))
        measured = [(together([native]), together(portable[:1]), together(portable)) for _ in range(rounds)]
        for racer in (native, *portable):
            racer.end()
        alone, one, two = (statistics.median(column) for column in zip(*measured, strict=True))
        table.add(kind, f"{alone:.0f}", f"{one:.0f}", f"{two:.0f}", f"{two / alone:.2f}")
    return [table]


def together(racers: list[Racer]) -> float:
    """Images a second of all of them."""
    for racer in racers:
        racer.go()
    return sum(racer.result() for racer in racers)


def training(kind: str, count: int, mode: str, threads: int) -> Callable[[], None]:
    """A round of one kind, ``count`` images of random levels; torch is loaded here."""
    import numpy as np
    import torch

    from hw1.byol.byol import Byol
    from hw1.byol.pretraining import byol_training
    from hw1.classify import classification
    from hw1.classify.classifiers import FinetunedClassifier, SmallCNN, build_backbone, build_convnext, feature_width
    from hw1.engine.loop import fit
    from hw1.engine.recipe import Recipe, Run
    from hw1.images.batches import Batches
    from hw1.images.machine import start
    from hw1.run.parameters.params import load
    from hw1.run.tracking.tracking import Tracker
    from hw1.segment.segmentation import segmenter_loss
    from hw1.segment.segmenters import build_segmenter

    params = load("presets/quick.yaml")
    place = start(dataclasses.replace(params.runtime, numerics=mode, threads=threads, device="cpu"), seed=0)
    generator, draw = torch.Generator().manual_seed(0), np.random.default_rng(0)

    def finetuned(frozen: bool) -> FinetunedClassifier:
        backbone = build_backbone(params.backbone)
        return FinetunedClassifier(backbone, feature_width(backbone), 20, frozen)

    build, settings = {
        "small CNN": (lambda: SmallCNN(params.classify.A, 20), params.classify.A),
        "ConvNeXt": (
            lambda: build_convnext(dataclasses.replace(params.classify.B, weights="none"), 20),
            params.classify.B,
        ),
        "ResNet10, full": (lambda: finetuned(False), params.finetuning("A")),
        "ResNet10, frozen": (lambda: finetuned(True), params.finetuning("A")),
        "BYOL, ResNet10": (lambda: build_backbone(params.backbone), params.pretrain.byol),
        "FCN32s": (
            lambda: build_segmenter(dataclasses.replace(params.segment.A, weights="none"), 7),
            params.segment.A,
        ),
        "DeepLabv3": (
            lambda: build_segmenter(dataclasses.replace(params.segment.B, weights="none"), 7),
            params.segment.B,
        ),
    }[kind]
    network, masks = build(), kind in ("FCN32s", "DeepLabv3")
    side = params.prepare.p3.size if masks else 32
    images = draw.integers(0, 256, (count, side, side, 3), np.uint8)
    settings = dataclasses.replace(settings, epochs=1)
    run = Run(place, generator, Tracker(kind))
    if kind.startswith("BYOL"):
        network = Byol(network, feature_width(network), settings.hidden, settings.projection)
        network = place.place(network)
        batches = Batches(images, None, settings.batch_size, place)
        return lambda: fit(byol_training(network, batches, settings, generator), run)
    network, settings = place.place(network), dataclasses.replace(settings, lr=5e-4)
    shape, kept = (images.shape[:3], np.uint8) if masks else (count, np.int64)
    batches = Batches(images, draw.integers(0, 6, shape).astype(kept), settings.batch_size, place)
    make = segmenter_loss if masks else classification.classifier_loss
    recipe = Recipe(network, batches, make(network, settings, generator), settings, kind)
    return lambda: fit(recipe, run)


def main() -> None:
    kind, mode, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    pin(mode, threads)
    one_round = training(kind, KINDS[kind], mode, threads)
    while True:
        begun = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):  # the epochs' lines
            one_round()
        print(KINDS[kind] / (time.perf_counter() - begun), flush=True)
        if not sys.stdin.readline():
            return


if __name__ == "__main__":
    main()
