"""What to say, and what still fits, when memory is full."""

import contextlib
from collections.abc import Callable, Iterator

import torch

from hw1.run.errors import InputError

GIB = 1 << 30
SMALLEST = 2  # BatchNorm cannot train on one image


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch raised ``error`` for want of memory, of a GPU or of the machine."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """Where nobody could say which parameter to change: InputError in place of torch's own error."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        room = "the memory is full"
        if torch.cuda.is_initialized():
            free, total = (size / GIB for size in torch.cuda.mem_get_info())
            room = f"{free:.1f} of {total:.1f} GiB of {torch.cuda.get_device_name()} are free, which is not enough"
        advice = "smaller batches or images, a device that nobody else uses, or cpu"
        raise InputError(f"runtime.device: {room}; take {advice}") from None


def largest_batch(step: Callable[[int], object], too_many: int) -> int:
    """The most images a step can take, below ``too_many``, to within an eighth; 0 if not even two fit.

    Found by trying: ``step(n)`` trains on n images. Halves the batch until a step succeeds, then
    closes in on the limit from both sides.
    """
    fits = 0
    while too_many - fits > max(1, too_many // 8) and too_many > SMALLEST:
        size = max(SMALLEST, (fits + too_many) // 2)
        try:
            step(size)
            fits = size
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            too_many = size
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return fits
