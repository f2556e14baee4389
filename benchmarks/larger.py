"""A data set larger than memory: its batches come from the disk as fast as a training takes them."""

import dataclasses
import mmap
import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import machine, scale
from benchmarks.tables import Table
from benchmarks.timing import Run, race
from hw1.data.batches import Batches
from hw1.models.byol import Byol
from hw1.models.classifiers import build_backbone, feature_width
from hw1.params import load
from hw1.train.loop import fit
from hw1.train.pretraining import byol_loss_of, target_update
from hw1.train.tracking import Tracker

SIZE = 128  # pixels, the paper preset's mini
IMAGES = 256
TIMES = 10  # as many are on the disk


def contestant(on_disk: bool) -> Run:
    """A BYOL epoch of ResNet18: over IMAGES in memory, or over TIMES as many on the disk, none of them cached."""
    place, batch = machine(), scale().byol_batch
    training = dataclasses.replace(
        load("presets/quick.yaml").pretrain.byol, epochs=1, batch_size=batch, augmentation="trivial128"
    )
    backbone = build_backbone("resnet18")
    network = place.place(Byol(backbone, feature_width(backbone), training.hidden, training.projection))
    draws, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    if on_disk:
        with tempfile.TemporaryDirectory(dir=".") as folder:  # on a disk, which /tmp may not be
            path = Path(folder, "images.npy")
            _write(path, draws)
            images, file = np.load(path, mmap_mode="c"), os.open(path, os.O_RDONLY)  # stay when the name goes
        place = dataclasses.replace(place, resident_share=0.0)  # on a GPU its batches stream
    else:
        images = draws.integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8)
    batches = Batches(images, None, batch, place)

    def run() -> float:
        if on_disk:
            _forget(images, file)
        fit(
            network,
            batches,
            byol_loss_of(network, training, generator),
            section="pretrain.byol",
            training=training,
            lr=training.lr,
            machine=place,
            generator=generator,
            tracker=Tracker("benchmark"),
            after_step=target_update(network, training),
        )
        return len(images)

    return run


def _write(path: Path, draws: np.random.Generator) -> None:
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (TIMES * IMAGES, SIZE, SIZE, 3))
    for part in np.array_split(array, TIMES):
        part[:] = draws.integers(0, 256, part.shape, np.uint8)
    array.flush()


def _forget(images: np.memmap, file: int) -> None:
    """Let the kernel drop the file's pages, of this process and of its cache."""
    images._mmap.madvise(mmap.MADV_DONTNEED)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def larger(rounds: int) -> list[Table]:
    megabytes = IMAGES * SIZE * SIZE * 3 / 2**20
    speeds = race({name: partial(contestant, name == "on disk") for name in ("in memory", "on disk")}, rounds)
    table = Table(
        f"BYOL epoch, ResNet18 at {SIZE} px: {megabytes:.0f} MiB in memory, {TIMES} times as much on a disk, uncached",
        ("", "images/s", "of those in memory", "slowest-fastest"),
    )
    for name, speed in speeds.items():
        share = speed.median / speeds["in memory"].median
        table.add(name, f"{speed.median:.1f}", f"{share:.1%}", speed.spread)
    return [table]
