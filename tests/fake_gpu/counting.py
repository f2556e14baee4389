"""What a piece of work asks of the fake GPU, counted; for processes that run on it."""

import collections
import contextlib
import ctypes
import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sitecustomize import convolutions
from torch.utils._python_dispatch import TorchDispatchMode

GPU = ctypes.CDLL(os.environ["LD_PRELOAD"])
ROOT = Path(__file__).parents[2]


class Event(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("bytes", ctypes.c_size_t), ("kind", ctypes.c_int), ("device", ctypes.c_int))


GPU.fake_events.restype = ctypes.POINTER(Event)
GPU.fake_count.restype = ctypes.c_long


@dataclass
class Counts:
    """Kernels, and beside them matrix products and convolutions; waits of the host for the device; copies by kind ("to,
    pageable", "from, pinned", "on the device" ...) and their bytes; allocations.
    """

    kernels: int = 0
    products: int = 0
    convolutions: int = 0
    waits: int = 0
    copies: collections.Counter = field(default_factory=collections.Counter)
    bytes: collections.Counter = field(default_factory=collections.Counter)
    allocations: int = 0

    @property
    def pageable(self) -> int:
        """Copies to the device that the host cannot leave to it."""
        return self.copies["to, pageable"]

    def add(self, event: Event) -> None:
        kind, name = chr(event.kind), event.name.decode()
        if kind == "C":
            self.copies[name] += 1
            self.bytes[name] += event.bytes
        elif counter := {"K": "kernels", "G": "products", "S": "waits", "A": "allocations"}.get(kind):
            setattr(self, counter, getattr(self, counter) + 1)


def events(start: int = 0) -> Iterator[Event]:
    """The events from number ``start`` on."""
    every = GPU.fake_events()
    return (every[number] for number in range(start, GPU.fake_count()))


@contextlib.contextmanager
def counted() -> Iterator[Counts]:
    """The counts of the block, filled in at its end."""
    counts = Counts()
    GPU.fake_reset()
    convolutions.clear()
    yield counts
    for event in events():
        counts.add(event)
    counts.convolutions = convolutions.total()


def who_waits(work: Callable[[], object]) -> collections.Counter:
    """The lines of hw1 whose operations wait for the device or copy pageable memory, and how often each does."""
    found: collections.Counter = collections.Counter()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            before = GPU.fake_count()
            result = operation(*args, **(kwargs or {}))
            for event in events(before):
                name = event.name.decode()
                if chr(event.kind) == "S" or name.endswith("pageable"):
                    found[f"{_line_of_ours()} {operation} {name}"] += 1
            return result

    with Watch():
        work()
    return found


def _line_of_ours() -> str:
    frames = [frame for frame in traceback.extract_stack() if f"{ROOT}/hw1/" in frame.filename]
    return f"{Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].lineno}" if frames else "elsewhere"
