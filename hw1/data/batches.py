"""Batches of a prepared split on the device, as uint8: augmentation and normalisation happen there."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from hw1.data.streaming import Announcement, ahead
from hw1.ranks import Share
from hw1.runtime import Machine

Batch = tuple[Tensor, Tensor]
AHEAD = 3  # batches that wait on the GPU while it computes on another


class Batches:
    """Images (N, H, W, 3) uint8 with targets: labels (N,) int64, masks (N, H, W) uint8, or None.

    Without targets, each batch brings the images' positions in the split instead.

    On a GPU the arrays live in its memory where they fit the machine's ``resident_share`` of what is free, else
    batches stream ahead of their use through pinned memory. On a CPU the memory map is indexed as it is. Of a map
    larger than memory the kernel is told the next batch's images while the step works on this one's.
    """

    def __init__(self, images: np.ndarray, targets: np.ndarray | None, batch_size: int, machine: Machine):
        targets = np.arange(len(images)) if targets is None else targets
        self._announcements = [Announcement(array) for array in (images, targets) if isinstance(array, np.memmap)]
        self._arrays = torch.from_numpy(images), torch.from_numpy(targets)
        self._batch_size = batch_size
        self._device = machine.device
        if self._device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self._device)
            if images.nbytes + targets.nbytes <= machine.resident_share * free:
                self._arrays = tuple(array.to(self._device) for array in self._arrays)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._arrays[0])

    @property
    def _place(self) -> torch.device:
        """Where the arrays are."""
        return self._arrays[0].device

    @property
    def steps(self) -> int:
        """Number of batches in an epoch."""
        return len(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """Batch sizes of an epoch; a last batch of one joins the one before, BatchNorm cannot train on it."""
        full, rest = divmod(len(self), self._batch_size)
        sizes = [self._batch_size] * full
        if rest == 1 and full:
            sizes[-1] += 1
        elif rest:
            sizes.append(rest)
        return sizes

    def shuffled(self, generator: torch.Generator) -> Tensor:
        """A random order of the images: (N,) int64."""
        return torch.randperm(len(self), generator=generator)

    def take(self, order: Tensor, skip: int = 0) -> Iterator[Batch]:
        """This rank's share of each batch in that order, without the first ``skip`` batches.

        Images (n, 3, H, W) uint8 in channels_last and targets.
        """
        parts = order.to(self._place).split(self.sizes)[skip:]
        return self._batches([Share.of(len(part)).rows(part) for part in parts])

    def in_order(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Every image once in stored order, whole batches; or the batches from ``start`` up to ``stop``."""
        return self._batches(torch.arange(len(self), device=self._place).split(self.sizes)[start:stop])

    def _batches(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        if self._place.type == "cpu":
            parts = self._announced(parts)
        return map(self._take, parts) if self._place == self._device else self._streamed(parts)

    def _announced(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """The parts, each announced before the one ahead of it is used."""
        for current, following in itertools.pairwise([None, *parts, None]):
            for announce in self._announcements if following is not None else ():
                announce(following)
            if current is not None:
                yield current

    def _take(self, index: Tensor) -> Batch:
        images, targets = (array.index_select(0, index) for array in self._arrays)
        return _channels_first(images), targets

    def _streamed(self, parts: Iterable[Tensor]) -> Iterator[Batch]:
        """Batches gathered into pinned memory and copied on a stream of their own, ahead of their use."""
        copies = torch.cuda.Stream(self._device)

        def send(index: Tensor) -> tuple[list[Tensor], torch.cuda.Event]:
            sent = []
            for array in self._arrays:
                staged = torch.empty((len(index), *array.shape[1:]), dtype=array.dtype, pin_memory=True)
                torch.index_select(array, 0, index, out=staged)
                with torch.cuda.stream(copies):
                    sent.append(staged.to(self._device, non_blocking=True))
            return sent, copies.record_event()

        for sent, arrived in ahead(map(send, parts), AHEAD):
            steps = torch.cuda.current_stream(self._device)
            steps.wait_event(arrived)
            for tensor in sent:
                tensor.record_stream(steps)  # its memory is not reused while the step reads it
            images, targets = sent
            yield _channels_first(images), targets


def _channels_first(images: Tensor) -> Tensor:
    """NHWC bytes seen as NCHW: channels_last."""
    return images.permute(0, 3, 1, 2)
