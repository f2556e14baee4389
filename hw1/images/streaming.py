"""Work done ahead of its use: by a background thread, or by the kernel that reads a file."""

import mmap
import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from torch import Tensor

T = TypeVar("T")
_END = object()
_POLL = 0.1  # seconds after which the thread looks whether its items are still wanted


def ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """The items in their order, made by a background thread that keeps at most ``depth`` of them waiting.

    An error in ``items`` is raised where they are used, after those before it. The thread ends with the
    items, or when the iterator returned is closed.
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
            for item in items:
                if not put(item):
                    return
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
        self._map = array._mmap
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
