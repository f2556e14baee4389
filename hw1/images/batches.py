"""Batches of a prepared split on the device, as uint8: augmentation and normalisation happen there."""

import itertools
import mmap
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hw1.data.arrays import load_array
from hw1.images.machine import Machine
from hw1.images.shares import Share
from hw1.images.transfer import Announcement, ahead, send

Batch = tuple[Tensor, Tensor]
AHEAD = 3  # batches that wait on the GPU while it computes on another


class Batches:
    """Images (N, H, W, 3) uint8 with targets: labels (N,) int64, masks (N, H, W) uint8, or None.

    Without targets, each batch brings the images' positions in the split instead, on the CPU.

    On a GPU the arrays live in its memory where they fit the machine's ``resident_share`` of what is free, else
    batches stream ahead of their use through pinned memory. On a CPU the memory map is indexed as it is. Of a map
    larger than memory the kernel is told the next batch's images while the step works on this one's.
    """

    def __init__(self, images: np.ndarray, targets: np.ndarray | None, batch_size: int, machine: Machine):
        arrays = [images] if targets is None else [images, targets]
        maps = [array for array in arrays if isinstance(array.base, mmap.mmap)]
        self._announcements = [Announcement(array) for array in maps]
        self._arrays = [torch.from_numpy(array) for array in arrays]
        self._batch_size = batch_size
        self._device = machine.device
        if self._device.type == "cuda":
            self._move_in(machine)

    @classmethod
    def labelled(cls, data: Path, split: str, batch_size: int, machine: Machine) -> "Batches":
        """Images and labels of a split of prepared data."""
        return cls(load_array(data, f"{split}_images"), load_array(data, f"{split}_labels"), batch_size, machine)

    def _move_in(self, machine: Machine) -> None:
        """Let the arrays live on the GPU if they may; where they do not fit after all, say so and stream them."""
        size = sum(array.nbytes for array in self._arrays)
        free, _ = torch.cuda.mem_get_info(self._device)
        if size > machine.resident_share * free:
            return
        try:
            self._arrays = [array.to(self._device) for array in self._arrays]
        except torch.OutOfMemoryError:
            fault = f"{size / 2**30:.2g} GiB of images do not fit into the free memory of {machine.name}"
            print(f"runtime.resident_share: {fault}; they are sent batch by batch", file=sys.stderr)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._arrays[0])

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
        return self._batches([Share.of(len(part)).rows(part) for part in order.split(self.sizes)[skip:]])

    def in_order(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Every image once in stored order, whole batches; or the batches from ``start`` up to ``stop``."""
        return self._batches(torch.arange(len(self)).split(self.sizes)[start:stop])

    def _batches(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        """The batches of the images ``parts``, (n,) int64 on the CPU each."""
        device = self._arrays[0].device
        if device.type != "cpu":
            return map(self._batch, parts, send(parts, device))  # the whole epoch's indices at once
        announced = self._announced(parts)
        return self._streamed(announced) if self._device.type != "cpu" else map(self._batch, announced)

    def _announced(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """The parts, each announced before the one ahead of it is used."""
        for current, following in itertools.pairwise([None, *parts, None]):
            for announce in self._announcements if following is not None else ():
                announce(following)
            if current is not None:
                yield current

    def _batch(self, index: Tensor, on_device: Tensor | None = None) -> Batch:
        """The images ``index``, which is ``on_device`` where the arrays are."""
        chosen = index if on_device is None else on_device
        return _channels_first([array.index_select(0, chosen) for array in self._arrays], index)

    def _streamed(self, parts: Iterable[Tensor]) -> Iterator[Batch]:
        """Batches gathered into pinned memory and copied on a stream of their own, ahead of their use."""
        copies = torch.cuda.Stream(self._device)

        def copied() -> Iterator[tuple[Tensor, list[Tensor], torch.cuda.Event]]:
            torch.cuda.set_device(self._device)  # a new thread's is GPU 0, which may be another process's
            for index in parts:
                sent = []
                for array in self._arrays:
                    staged = torch.empty((len(index), *array.shape[1:]), dtype=array.dtype, pin_memory=True)
                    torch.index_select(array, 0, index, out=staged)
                    with torch.cuda.stream(copies):
                        sent.append(staged.to(self._device, non_blocking=True))
                yield index, sent, copies.record_event()

        for index, sent, arrived in ahead(copied(), AHEAD):
            steps = torch.cuda.current_stream(self._device)
            steps.wait_event(arrived)
            for tensor in sent:
                tensor.record_stream(steps)  # its memory is not reused while the step reads it
            yield _channels_first(sent, index)


def _channels_first(arrays: list[Tensor], index: Tensor) -> Batch:
    """Images seen as NCHW, channels_last in memory, and the targets, or the positions ``index``."""
    images, *targets = arrays
    return images.permute(0, 3, 1, 2), targets[0] if targets else index
