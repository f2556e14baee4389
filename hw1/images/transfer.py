"""Data on their way, ahead of their use: to a device, from a background thread, from a file."""

import mmap
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")
ALIGNMENT = 16  # bytes; of the tensors in one copy
_END = object()
_POLL = 0.1  # seconds after which the thread looks whether its items are still wanted


def send(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """CPU tensors of any shapes and types on ``device``: one copy, from pinned memory, for which nobody waits.

    A copy of its own from ordinary memory for each would stop the host until the driver has read it. On a CPU they
    are the tensors themselves.
    """
    if device.type == "cpu" or not tensors:
        return list(tensors)
    starts, end = [], 0
    for tensor in tensors:
        starts.append(end)
        end += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    packed = torch.empty(end, dtype=torch.uint8, pin_memory=True)
    for start, tensor in zip(starts, tensors, strict=True):
        _part(packed, start, tensor).copy_(tensor)
    on_device = packed.to(device, non_blocking=True)
    return [_part(on_device, start, tensor) for start, tensor in zip(starts, tensors, strict=True)]


def _part(packed: Tensor, start: int, tensor: Tensor) -> Tensor:
    """The bytes of ``packed`` from ``start`` on as a tensor of the type and shape of ``tensor``."""
    return packed[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)


def ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """The items in their order, made by a background thread that keeps at most ``depth`` of them waiting.

    An error in ``items`` is raised where they are used, after those before it. The thread ends with the items, or
    when the iterator returned is closed.
    """
    waiting: queue.Queue = queue.Queue(depth)  # of items, in the end of _END or an error
    closed = threading.Event()

    def put(entry: object) -> bool:
        while not closed.is_set():
            try:
                waiting.put(entry, timeout=_POLL)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            if all(map(put, items)):
                put(_END)
        except BaseException as error:  # carried over to the thread that uses the items
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed.set()
        thread.join()


class Announcement:
    """Tells the kernel which rows of a memory map are needed soon, so that it reads all of them at once.

    Without it each page is read when it is touched, one after the other.
    """

    def __init__(self, array: np.memmap):
        self._map: mmap.mmap = array.base
        self._row = array.strides[0] if len(array) else 0
        self._start = array.offset % mmap.ALLOCATIONGRANULARITY  # of the array in its map

    def __call__(self, index: Tensor) -> None:
        """``index``: rows, (n,) int64 on the CPU."""
        if not hasattr(mmap, "MADV_WILLNEED"):
            return
        for row in index.tolist():
            start = self._start + row * self._row
            skipped = start % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, start - skipped, self._row + skipped)
