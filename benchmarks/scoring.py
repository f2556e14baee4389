"""mIoU scoring: pixels a second from masks to the six IoUs."""

from functools import partial

import numpy as np
import torch

from benchmarks.machine import machine, wait
from benchmarks.tables import Table, ratio
from benchmarks.timing import Contestant, Speed, race
from hw1.engine.metrics import count_confusion, iou

TILES, SIDE, CLASSES = 64, 512, 7


def masks() -> tuple[torch.Tensor, torch.Tensor]:
    """Truth (TILES, SIDE, SIDE) uint8 and predictions int64, as argmax gives them."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, CLASSES, (TILES, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    prediction = torch.randint(0, CLASSES, (TILES, SIDE, SIDE), generator=generator)
    device = machine().device
    return truth.to(device), prediction.to(device)


def ours() -> Contestant:
    truth, prediction = masks()

    def run() -> float:
        counts = sum(count_confusion(*pair, CLASSES) for pair in zip(truth, prediction, strict=True))
        iou(counts.cpu())
        return truth.numel()

    return run


def torchmetrics() -> Contestant:
    from torchmetrics.classification import MulticlassJaccardIndex

    truth, prediction = masks()
    metric = MulticlassJaccardIndex(CLASSES, average="none", validate_args=False).to(truth.device)

    def run() -> float:
        metric.reset()
        for pair in zip(prediction, truth.long(), strict=True):
            metric.update(*pair)
        metric.compute()
        wait(truth.device)
        return truth.numel()

    return run


def numpys() -> Contestant:
    """For each class and tile, logical sums of boolean masks: the way course scorers are written."""
    truth, prediction = (tensor.cpu().numpy() for tensor in masks())

    def run() -> float:
        hits, unions = np.zeros((2, CLASSES - 1))
        for true, guessed in zip(truth, prediction, strict=True):
            for number in range(CLASSES - 1):
                here, there = true == number, guessed == number
                hits[number] += np.sum(here & there)
                unions[number] += np.sum(here | there)
        hits / unions
        return truth.size

    return run


def scoring(rounds: int) -> list[Table]:
    table = Table(
        "mIoU scoring",
        ("", "million pixels/s", "ours / this"),
        note=f"{TILES} tiles of {SIDE} px, one after the other, {CLASSES} classes.",
    )
    speeds = race({"ours": partial(ours), "torchmetrics": partial(torchmetrics), "NumPy": partial(numpys)}, rounds)
    for name, speed in speeds.items():
        table.add(name, speed.missing or millions(speed), ratio(speeds["ours"], speed))
    return [table]


def millions(speed: Speed) -> str:
    return f"{speed.median / 1e6:,.0f}"
