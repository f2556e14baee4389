"""A data set larger than memory: its batches come from the disk as fast as a training takes them."""

import dataclasses
import mmap
import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.byol import pretraining_of
from benchmarks.machine import machine, scale
from benchmarks.tables import Table
from benchmarks.timing import Contestant, race
from hw1.run.parameters.params import load
from hw1.run.tracking.tracking import Tracker

SIZE = 128  # pixels, the paper preset's mini
IMAGES = 256
TIMES = 10  # as many are on the disk


def contestant(on_disk: bool) -> Contestant:
    """A BYOL epoch of ResNet18: over IMAGES in memory, or over TIMES as many on the disk, none of them cached."""
    place, batch = machine(), scale().byol_batch
    training = dataclasses.replace(
        load("presets/quick.yaml").pretrain.byol, epochs=1, batch_size=batch, augmentation="trivial128"
    )
    draws = np.random.default_rng(0)
    if on_disk:
        with tempfile.TemporaryDirectory(dir=".") as folder:  # on a disk, which /tmp may not be
            path = Path(folder, "images.npy")
            _write(path, draws)
            images, file = np.load(path, mmap_mode="c"), os.open(path, os.O_RDONLY)  # stay when the name goes
        place = dataclasses.replace(place, resident_share=0.0)  # on a GPU its batches stream
    else:
        images = draws.integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8)
    epoch = pretraining_of("resnet18", training, images, place, Tracker("benchmark"))
    if not on_disk:
        return epoch

    def uncached_epoch() -> float:
        _forget(images, file)
        return epoch()

    return uncached_epoch


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
