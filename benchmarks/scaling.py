"""What several ranks make of the cores there are: one batch shared (strong scaling), a batch for each (weak)."""

import dataclasses
import multiprocessing
import os
import socket
from functools import partial

import numpy as np
import torch

from benchmarks.tables import Table
from benchmarks.timing import Run, race
from hw1.data.batches import Batches
from hw1.models.byol import Byol
from hw1.models.classifiers import build_backbone, feature_width
from hw1.params import load
from hw1.ranks import joined, most
from hw1.runtime import start
from hw1.train.loop import fit
from hw1.train.pretraining import byol_loss_of, target_update
from hw1.train.tracking import Tracker

IMAGES = 512
SIZE = 32  # pixels, the quick preset's
BATCH = 64
# name: (ranks, threads of each, images of a batch)
STRONG = {
    "1 rank, 1 thread": (1, 1, BATCH),
    "1 rank, 2 threads": (1, 2, BATCH),
    "2 ranks, 1 thread each": (2, 1, BATCH),
    "4 ranks, 1 thread each": (4, 1, BATCH),
}
WEAK = {
    "1 rank, 1 thread": (1, 1, BATCH // 2),
    "2 ranks, 1 thread each": (2, 1, BATCH),
    "4 ranks, 1 thread each": (4, 1, 2 * BATCH),
}


def epoch(threads: int, batch: int) -> Run:
    """BYOL on ResNet18 over synthetic images, on the ranks that are joined."""
    params = load("presets/quick.yaml")
    torch.set_num_threads(threads)
    place = start(params.runtime, seed=0)
    training = dataclasses.replace(params.pretrain.byol, epochs=1, batch_size=batch)
    backbone = build_backbone("resnet18")
    network = place.place(Byol(backbone, feature_width(backbone), training.hidden, training.projection))
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8)
    batches, generator = Batches(images, None, batch, place), torch.Generator().manual_seed(0)

    def run() -> float:
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
        return IMAGES

    return run


def contestant(ranks: int, threads: int, batch: int) -> Run:
    """The first rank, which the rounds are asked of; the others run one whenever it does."""
    if ranks == 1:
        return epoch(threads, batch)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    context = multiprocessing.get_context("spawn")
    for rank in range(1, ranks):
        context.Process(target=_follow, args=(rank, meeting, threads, batch), daemon=True).start()
    os.environ |= {"RANK": "0", **meeting}
    joined().__enter__()  # until the process ends
    run = epoch(threads, batch)

    def round_of_all() -> float:
        most(1)
        return run()

    return round_of_all


def _follow(rank: int, meeting: dict[str, str], threads: int, batch: int) -> None:
    os.environ |= {"RANK": str(rank), "HW1_TRACKING": "off", **meeting}
    with joined():
        run = epoch(threads, batch)
        while most(0):
            run()


def scaling(rounds: int) -> list[Table]:
    if torch.cuda.is_available():
        raise SystemExit("scaling: measures the cores of a CPU; hide the GPUs with CUDA_VISIBLE_DEVICES=")
    title = "BYOL epoch, ResNet18 at 32 px, on ranks that share this machine's cores"
    return [
        race_of(STRONG, f"{title}: strong scaling, batches of {BATCH}", rounds),
        race_of(WEAK, f"{title}: weak scaling, {BATCH // 2} images of a batch per rank", rounds),
    ]


def race_of(contestants: dict[str, tuple[int, int, int]], title: str, rounds: int) -> Table:
    table = Table(title, ("", "images/s", "of one rank's on one thread", "slowest-fastest"))
    speeds = race({name: partial(contestant, *numbers) for name, numbers in contestants.items()}, rounds)
    alone = speeds["1 rank, 1 thread"].median
    for name, speed in speeds.items():
        table.add(name, f"{speed.median:.0f}", f"{speed.median / alone:.2f}", speed.spread)
    return table
