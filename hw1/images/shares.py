"""Images of a batch that each rank has, and what ranks tell each other of them.

A batch of ``batch_size`` images is split into as many contiguous parts as there are ranks. What is drawn for the
images (augmentation, dropout) every rank draws for the whole batch and keeps the rows of its own; of a mean over the
batch every rank computes its part, and the parts add up to it. So batches, steps and random numbers are those of one
process, and only roundings differ.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from hw1.run.processes.ranks import rank, world

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """The rows from ``start`` up to ``stop`` of ``total``."""

    start: int
    stop: int
    total: int

    @classmethod
    def of(cls, total: int) -> "Share":
        """This rank's share of ``total`` rows; shares differ by one row at most, and may be empty."""
        return cls(rank() * total // world(), (rank() + 1) * total // world(), total)

    def rows(self, whole: Tensor) -> Tensor:
        return whole[self.start : self.stop]


_batch: Share | None = None  # of the batch under way


@contextlib.contextmanager
def sharing(total: int) -> Iterator[None]:
    """Have a batch of ``total`` images under way in the block, of which this rank has its share."""
    global _batch
    before, _batch = _batch, Share.of(total)
    try:
        yield
    finally:
        _batch = before


def share_of(images: Sequence) -> Share:
    """The rows of the batch under way that ``images`` are; outside of :func:`sharing` they are a batch of their own."""
    if _batch is None:
        return Share(0, len(images), len(images))
    if _batch.stop - _batch.start != len(images):
        raise ValueError(f"{len(images)} images are not the {_batch.stop - _batch.start} that this rank has")
    return _batch


def all_reduce(numbers: Tensor) -> Tensor:
    """The sum over ranks, in place."""
    if world() > 1:
        dist.all_reduce(numbers)
    return numbers


def all_gather(numbers: Tensor) -> Tensor:
    """Every rank's numbers, of one shape: (...) -> (ranks, ...)."""
    if world() == 1:
        return numbers[None]
    parts = [torch.empty_like(numbers) for _ in range(world())]
    dist.all_gather(parts, numbers)
    return torch.stack(parts)


def all_gather_items(items: list[T]) -> list[T]:
    """Every rank's items, in the order of ranks, on every rank; tensors must be the CPU's."""
    if world() == 1:
        return items
    parts: list = [None] * world()
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]
