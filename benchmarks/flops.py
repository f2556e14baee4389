"""Arithmetic of a training step, and what share of the machine's it reaches."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import machine, wait
from benchmarks.tables import Table
from benchmarks.timing import Speed


def flops_per_image(network: nn.Module, step: Callable[[], torch.Tensor], images: int) -> float:
    """Floating point operations of matrix products and convolutions, forward and backward, per image."""
    network.train()
    with FlopCounterMode(display=False) as counter:
        step().backward()
    return counter.get_total_flops() / images


def product_peak(rounds: int) -> float:
    """FLOP/s of a product of two 4096 x 4096 bf16 matrices: median over ``rounds``, two more to warm up."""
    device = machine().device
    left, right = torch.randn(2, 4096, 4096, device=device).bfloat16()
    seconds = []
    for _ in range(rounds + 2):
        wait(device)
        begin = time.perf_counter()
        for _ in range(5):
            left @ right
        wait(device)
        seconds.append((time.perf_counter() - begin) / 5)
    return 2 * 4096**3 / statistics.median(seconds[2:])


class Shares:
    """A table of speeds as shares of a matrix product measured beside them."""

    def __init__(self, what: str, rounds: int):
        self._peak = product_peak(rounds)
        self.table = Table(
            f"{what}: share of a measured matrix product",
            ("", "GFLOP an image", "images/s", "GFLOP/s", "share"),
            note=f"Measured product of two 4096 x 4096 bf16 matrices: {self._peak / 1e9:,.0f} GFLOP/s. Counted: "
            "convolutions and matrix products of the step, forward and backward.",
        )

    def add(self, name: str, work: float, speed: Speed) -> None:
        """``work`` in floating point operations an image."""
        rate = work * speed.median
        cells = f"{work / 1e9:.1f}", f"{speed.median:.2f}", f"{rate / 1e9:,.0f}", f"{rate / self._peak:.0%}"
        self.table.add(name, *cells)
