"""What several ranks make of the cores there are: one batch shared (strong scaling), a batch for each (weak)."""

import multiprocessing
import os
import socket
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from benchmarks.byol import pretraining_of
from benchmarks.tables import Table
from benchmarks.timing import Contestant, race
from hw1.images.machine import start
from hw1.run.parameters.params import load
from hw1.run.processes.ranks import joined, most
from hw1.run.tracking.tracking import Tracker


@dataclass(frozen=True)
class Case:
    """What each rank trains: a backbone, images of a side in px, of an epoch and of a batch of all ranks."""

    network: str
    size: int
    images: int
    batch: int


SMALL, LARGE = Case("resnet18", 32, 512, 64), Case("resnet50", 128, 64, 32)  # the second is the paper preset's


def epoch(case: Case, threads: int) -> Contestant:
    """BYOL over synthetic images, on the ranks that are joined."""
    params = load("presets/quick.yaml")
    place = start(replace(params.runtime, numerics="native", threads=threads), seed=0)
    training = replace(params.pretrain.byol, epochs=1, batch_size=case.batch)
    images = np.random.default_rng(0).integers(0, 256, (case.images, case.size, case.size, 3), np.uint8)
    return pretraining_of(case.network, training, images, place, Tracker("benchmark"))


def contestant(case: Case, ranks: int, threads: int) -> Contestant:
    """The first rank, which the rounds are asked of; the others run one whenever it does."""
    if ranks == 1:
        return epoch(case, threads)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    context = multiprocessing.get_context("spawn")
    for rank in range(1, ranks):
        context.Process(target=_follow, args=(case, rank, meeting, threads), daemon=True).start()
    os.environ |= {"RANK": "0", **meeting}
    joined().__enter__()  # until the process ends
    run = epoch(case, threads)

    def round_of_all() -> float:
        most(1)
        return run()

    return round_of_all


def _follow(case: Case, rank: int, meeting: dict[str, str], threads: int) -> None:
    os.environ |= {"RANK": str(rank), "HW1_TRACKING": "off", **meeting}
    with joined():
        run = epoch(case, threads)
        while most(0):
            run()


def scaling(rounds: int) -> list[Table]:
    if torch.cuda.is_available():
        raise SystemExit("scaling: measures the cores of a CPU; hide the GPUs with CUDA_VISIBLE_DEVICES=")
    per_rank = {ranks: replace(SMALL, batch=SMALL.batch // 2 * ranks) for ranks in (1, 2, 4)}
    return [
        race_of([(SMALL, 1, 1), (SMALL, 1, 2), (SMALL, 2, 1), (SMALL, 4, 1)], "strong scaling", rounds),
        race_of([(LARGE, 1, 1), (LARGE, 1, 2), (LARGE, 2, 1)], "strong scaling", rounds),
        race_of([(case, ranks, 1) for ranks, case in per_rank.items()], "weak scaling", rounds),
    ]


def race_of(contestants: list[tuple[Case, int, int]], what: str, rounds: int) -> Table:
    case = contestants[0][0]
    table = Table(
        f"BYOL epoch, {case.network} at {case.size} px, on ranks that share this machine's cores: {what}",
        ("ranks", "threads of each", "images of a batch", "images/s", "of the first's", "slowest-fastest"),
    )
    speeds = race({str(numbers): partial(contestant, *numbers) for numbers in contestants}, rounds)
    first = speeds[str(contestants[0])].median
    for case, ranks, threads in contestants:
        speed = speeds[str((case, ranks, threads))]
        table.add(ranks, threads, case.batch, f"{speed.median:.3g}", f"{speed.median / first:.2f}", speed.spread)
    return table
