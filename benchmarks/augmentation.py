"""Augmented images a second: ours in batches on the device, torchvision's one by one in DataLoader workers."""

from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from benchmarks.byol import Pictures
from benchmarks.machine import machine, scale, wait
from benchmarks.tables import Table, ratio
from benchmarks.timing import Contestant, race
from hw1.images.augment import augment
from hw1.images.batches import Batches
from hw1.images.input import IMAGENET_MEAN, IMAGENET_STD, normalise

COUNT = 1024
BATCH = 64
CASES = [("trivial128", 32), ("trivial128", 128), ("choice224", 32), ("choice224", 128), ("choice224", 224)]


def images(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, size, size, 3), np.uint8)


def ours(name: str, size: int) -> Contestant:
    place, generator = machine(), torch.Generator().manual_seed(0)
    batches = Batches(images(size), None, BATCH, place)

    def run() -> float:
        for batch, _ in batches.take(batches.shuffled(generator)):
            normalise(augment(name, batch, generator))
        wait(place.device)
        return COUNT

    return run


def torchvisions(name: str, size: int) -> Contestant:
    """The same augmentation in torchvision's transforms of PIL images."""
    one_of = [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip(), v2.ColorJitter(0.5, 0.5, 0, 0.5)]
    steps = {"trivial128": [v2.RandomHorizontalFlip(), v2.TrivialAugmentWide()], "choice224": [v2.RandomChoice(one_of)]}
    normal = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    pictures = Pictures(images(size), v2.Compose([*steps[name], *normal]))
    loader = DataLoader(pictures, BATCH, shuffle=True, num_workers=scale().workers, persistent_workers=True)

    def run() -> float:
        for _ in loader:
            pass
        return COUNT

    return run


def augmentations(rounds: int) -> list[Table]:
    table = Table(
        "Augmentation alone",
        ("", "ours, images/s", "torchvision + DataLoader, images/s", "ours / torchvision"),
        note=f"{COUNT} images a round, normalised float batches of {BATCH}; {scale().workers} persistent workers.",
    )
    for name, size in CASES:
        speeds = race({"ours": partial(ours, name, size), "theirs": partial(torchvisions, name, size)}, rounds)
        medians = (f"{speed.median:,.0f}" for speed in speeds.values())
        table.add(f"`{name}`, {size} px", *medians, ratio(speeds["ours"], speeds["theirs"]))
    return [table]
