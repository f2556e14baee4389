"""A bound on the rounding of trainings on several ranks beside one process's."""

from collections.abc import Mapping

from torch import Tensor

# Sums of float32 are taken in another order: 1e-8 to 2e-4 of a tensor's norm in the cases of test_ranks.py.
# A layer that does not see the whole batch, or gradients that are not its mean, are off by a tenth and more.
BOUND = 5e-3


def difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest of any tensor, in norms."""
    return max(
        ((tensor - other[name]).double().norm() / tensor.double().norm().clamp(min=1e-3)).item()
        for name, tensor in one.items()
    )
