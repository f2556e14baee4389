"""One training in several processes ("ranks"): who they are, what they agree on, who writes.

All communication is ``torch.distributed``'s. Without it there is one rank, and nothing here does anything. Which
images of a batch each rank has is :mod:`hw1.images.shares`'s.
"""

import contextlib
import datetime
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

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
    # Of gradients of portable layers (hw1/images/kernels.py), which DDP copies into its buckets in their own layout.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
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


def most(*numbers: int) -> list[int]:
    """The largest of each over ranks: what one rank wants, all do."""
    if world() == 1:
        return list(numbers)
    largest = torch.tensor(numbers)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest.tolist()


def of_first(item: T) -> T:
    """The first rank's item, on every rank; tensors must be the CPU's."""
    if world() == 1:
        return item
    items = [item]
    dist.broadcast_object_list(items)
    return items[0]


@contextlib.contextmanager
def by_first(kind: Callable[[Path], AbstractContextManager[Path]], path: Path) -> Iterator[Path]:
    """The draft of ``kind`` (:func:`hw1.run.files.whole_file`, ``whole_folder``); only the first rank's is kept."""
    with contextlib.ExitStack() as stack:
        if rank():
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / path.name
        yield stack.enter_context(kind(path))
