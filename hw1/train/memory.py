"""How large a batch fits in memory, once one did not."""

from collections.abc import Callable

import torch

SMALLEST = 2  # BatchNorm cannot train on one image


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch raised ``error`` for want of memory, of a GPU or of the machine."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


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
