"""Small tensors on their way to a device."""

from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNMENT = 16  # bytes; of the tensors in one copy


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
    there = packed.to(device, non_blocking=True)
    return [_part(there, start, tensor) for start, tensor in zip(starts, tensors, strict=True)]


def _part(packed: Tensor, start: int, tensor: Tensor) -> Tensor:
    """The bytes of ``packed`` from ``start`` on as a tensor of the type and shape of ``tensor``."""
    return packed[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
