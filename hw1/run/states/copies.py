"""A copy of nested tensors as they are at one moment, in the CPU's memory, made over and over again.

What is copied to is kept for the next copy: memory that is new each time costs a page fault for every 4 KiB, and
pinned memory, which a GPU copies to by itself, is slow to get.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor


class Copies:
    """Copies, of which only the newest is good: the next one overwrites it."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, bool], list[Tensor]] = {}  # by bytes and whether pinned, (bytes,) uint8

    def take(self, nested: Any) -> tuple[Any, Callable[[], None]]:
        """A copy of dicts, lists and tuples with the tensors in them, and what to call before its tensors are read.

        A CPU's tensors are copied at once; a GPU's in its own order of work, for which the call waits. Tensors that
        share memory do so in the copy.
        """
        spare, self._buffers = self._buffers, defaultdict(list)
        copied: dict[tuple[torch.device, int, int], Tensor] = {}
        gpus = set()

        def copy_of(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            place = tensor.device, storage.data_ptr(), storage.nbytes()
            if tensor.is_cuda:
                gpus.add(tensor.device)
            if place not in copied:
                kind = storage.nbytes(), tensor.is_cuda
                if spare.get(kind):
                    buffer = spare[kind].pop()
                else:
                    buffer = torch.empty(storage.nbytes(), dtype=torch.uint8, pin_memory=tensor.is_cuda)
                _copy(torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage), buffer)
                copied[place] = buffer
                self._buffers[kind].append(buffer)
            memory = copied[place].untyped_storage()
            empty = torch.empty(0, dtype=tensor.dtype)
            return empty.set_(memory, tensor.storage_offset(), tensor.size(), tensor.stride())

        copies = _with_tensors(nested, copy_of)
        return copies, _end_of_work(gpus)


def _copy(source: Tensor, buffer: Tensor) -> None:
    if source.is_cuda:
        buffer.copy_(source, non_blocking=True)
    else:  # by NumPy, on this core: where others are busy, torch's threads wait for each other at each of the tensors
        buffer.numpy()[:] = source.numpy()


def _with_tensors(part: Any, copy_of: Callable[[Tensor], Tensor]) -> Any:
    """``part`` in new containers, with ``copy_of`` each tensor."""
    if isinstance(part, Tensor):
        return copy_of(part)
    if isinstance(part, dict):
        new = copy.copy(part)  # a state_dict has versions beside its items
        new.update({key: _with_tensors(value, copy_of) for key, value in part.items()})
        return new
    if isinstance(part, (list, tuple)):
        return type(part)(_with_tensors(value, copy_of) for value in part)
    return part


def _end_of_work(gpus: Collection[torch.device]) -> Callable[[], None]:
    """A call that waits until the GPUs have done what they were told so far, without keeping a core or the GIL."""
    events = {}
    for gpu in gpus:
        events[gpu] = torch.cuda.Event(blocking=True)
        events[gpu].record(torch.cuda.current_stream(gpu))

    def wait() -> None:
        for gpu, event in events.items():
            torch.cuda.set_device(gpu)  # of this thread, else it would begin on GPU 0, which may be another process's
            event.synchronize()

    return wait
