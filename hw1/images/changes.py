"""What happens to some images of a batch: drawn on the CPU, carried out where the images are."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from hw1.images.transfer import send


@dataclass(frozen=True)
class Change:
    """What happens to some images of a batch: ``operation(images, *parameters)`` takes the place of images ``index``.

    ``index`` is (n,) int64, the parameters have n rows each, all on the CPU.
    """

    operation: Callable[..., Tensor]
    index: Tensor
    parameters: tuple[Tensor, ...]


def where(chosen: Tensor, operation: Callable[..., Tensor], *parameters: Tensor) -> Iterator[Change]:
    """The change of the chosen images, (N,) bool, each with its rows of the parameters; none if none is chosen."""
    index = chosen.nonzero().squeeze(1)
    if len(index):
        yield Change(operation, index, tuple(values[index] for values in parameters))


def carry_out(images: Tensor, changes: Sequence[Change]) -> None:
    """Make the changes in their order, in place, in full precision; all that they need travels to the images' device
    in one copy.
    """
    needed = (tensor for change in changes for tensor in (change.index, *change.parameters))
    sent = iter(send(list(needed), images.device))
    with torch.autocast(images.device.type, enabled=False):
        for change in changes:
            index, *parameters = (next(sent) for _ in range(1 + len(change.parameters)))
            images[index] = change.operation(images.index_select(0, index), *parameters)


def coins(count: int, probability: float, generator: Generator) -> Tensor:
    """(count,) bool, each true with this ``probability``."""
    return torch.rand(count, generator=generator) < probability
