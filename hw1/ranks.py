"""One training in several processes ("ranks"): which images each has, and what they tell each other.

A batch of ``batch_size`` images is split into as many contiguous parts as there are ranks. What is drawn
for the images (augmentation, dropout) every rank draws for the whole batch and keeps the rows of its own
images; what is a mean over the batch every rank computes its part of, and the parts add up to the mean. So
the batches, the steps and the random numbers are those of one process, and only roundings differ.

All communication is ``torch.distributed``'s. Without it there is one rank, and nothing here does anything.
"""

import contextlib
import datetime
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
PATIENCE = datetime.timedelta(hours=1)  # for ranks that are behind; one that died is noticed at once


def world() -> int:
    """Number of ranks."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the ranks that the environment (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT) names; only the first prints."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    with contextlib.ExitStack() as stack:
        if rank():
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
            os.environ["HW1_TRACKING"] = "off"
        yield
        dist.destroy_process_group()


# -- shares


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
        """The rows of this share."""
        return whole[self.start : self.stop]


_batch: Share | None = None  # of the batch under way


@contextlib.contextmanager
def sharing(total: int) -> Iterator[None]:
    """In the block a batch of ``total`` images is under way, of which this rank has its share."""
    global _batch
    before, _batch = _batch, Share.of(total)
    try:
        yield
    finally:
        _batch = before


def share_of(images: Sequence) -> Share:
    """Which rows of the batch under way ``images`` are; outside of :func:`sharing` they are a batch of their own."""
    if _batch is None:
        return Share(0, len(images), len(images))
    if _batch.stop - _batch.start != len(images):
        raise ValueError(f"{len(images)} images are not the {_batch.stop - _batch.start} that this rank has")
    return _batch


# -- communication


def add_up(numbers: Tensor) -> Tensor:
    """The sum over ranks, in place."""
    if world() > 1:
        dist.all_reduce(numbers)
    return numbers


def stacked(numbers: Tensor) -> Tensor:
    """Every rank's numbers, of one shape: (...) -> (ranks, ...)."""
    if world() == 1:
        return numbers[None]
    parts = [torch.empty_like(numbers) for _ in range(world())]
    dist.all_gather(parts, numbers)
    return torch.stack(parts)


def most(*numbers: int) -> list[int]:
    """The largest of each over ranks: what one rank wants, all do."""
    if world() == 1:
        return list(numbers)
    largest = torch.tensor(numbers)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest.tolist()


def gathered(items: list[T]) -> list[T]:
    """Every rank's items, in the order of ranks, on every rank; tensors must be the CPU's."""
    if world() == 1:
        return items
    parts: list = [None] * world()
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def of_first(item: T) -> T:
    """The first rank's item, on every rank; tensors must be the CPU's."""
    if world() == 1:
        return item
    items = [item]
    dist.broadcast_object_list(items)
    return items[0]


# -- outputs


@contextlib.contextmanager
def by_first(kind: Callable[[Path], AbstractContextManager[Path]], path: Path) -> Iterator[Path]:
    """The draft of ``kind`` (:func:`hw1.files.whole_file`, ``whole_folder``); only the first rank's is kept."""
    with contextlib.ExitStack() as stack:
        if rank():
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / path.name
        yield stack.enter_context(kind(path))
