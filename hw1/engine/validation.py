"""Predictions on a validation split, their losses and their counts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hw1.data.classes import LAND_COVER
from hw1.engine.metrics import count_confusion, cross_entropy
from hw1.images.batches import Batches
from hw1.images.input import AS_STORED, NetworkInput
from hw1.images.machine import Machine
from hw1.images.shares import Share, all_gather_items
from hw1.images.transfer import send
from hw1.run.processes.ranks import world

PixelLoss = Callable[[Tensor, Tensor], Tensor]
STRIP = 1 << 22  # pixels of a class map made at a time: 117 MB of scores


@torch.no_grad()
def logits_of(network: nn.Module, images: Tensor, machine: Machine, fed: NetworkInput = AS_STORED) -> Tensor:
    """Logits of stored images (n, 3, S, S) uint8 by a network in eval mode, on its device, in the autocast's type."""
    with machine.autocast():
        return network(fed(images))


def at_size(scores: Tensor, shape: tuple[int, int]) -> Tensor:
    """Scores of a tile (7, h, w) resized to (7, *shape), bilinearly."""
    if scores.shape[-2:] == shape:
        return scores
    return nn.functional.interpolate(scores[None], shape, mode="bilinear", align_corners=False)[0]


def class_map(scores: Tensor, shape: tuple[int, int]) -> Tensor:
    """The class of each pixel of a tile at its own size: scores (7, h, w) -> (*shape) uint8.

    A large tile is made strip by strip, so that its scores, 28 bytes a pixel, are never all in memory.
    """
    height, width = shape
    if height * width <= STRIP:
        return most_likely(at_size(scores, shape)).byte()
    rows, strips = scores.shape[-2], []
    wide = nn.functional.interpolate(scores[None], (rows, width), mode="bilinear", align_corners=False)[0]
    step = max(1, STRIP // width)
    for top in range(0, height, step):
        # As interpolate places the rows: by their centres, the outermost repeated.
        places = torch.arange(top, min(top + step, height), device=scores.device)
        source = ((places + 0.5) * rows / height - 0.5).clamp(min=0)
        above = source.long()
        below, share = (above + 1).clamp(max=rows - 1), (source - above)[:, None]
        strips.append(most_likely(wide[:, above].lerp(wide[:, below], share)).byte())
    return torch.cat(strips)


def most_likely(scores: Tensor) -> Tensor:
    """The class of each pixel: (7, H, W) -> (H, W) int64."""
    return scores.max(0).indices  # argmax over the first dimension is 15 times as slow on a CPU


@dataclass(frozen=True)
class Classified:
    """A labelled split of N images as a network sees it: mean cross entropy, true and predicted labels (N,) int64, and
    the softmax share of the predicted class, ``confidences`` (N,) float32.
    """

    loss: float
    labels: Tensor
    predictions: Tensor
    confidences: Tensor

    def confusion(self, classes: int) -> Tensor:
        """Counts (classes, classes), see :func:`hw1.engine.metrics.count_confusion`."""
        return count_confusion(self.labels, self.predictions, classes)


def labels_of(logits: Tensor, classes: int) -> Tensor:
    """The most likely class of each image: (N, >= classes) -> (N,) int64.

    The printed head of P1's model A has more outputs than there are classes; the rest are never a label.
    """
    return logits[:, :classes].argmax(1)


def each_batch(
    batches: Batches, outcome: Callable[[Tensor, Tensor], tuple[Tensor, ...]]
) -> tuple[tuple[Tensor, ...], ...]:
    """Tensors that ``outcome`` makes of images and targets, as tuples of one per batch of a split, in stored order.

    Ranks divide whole batches among themselves and gather the outcomes, which are the CPU's then.
    """
    share = Share.of(batches.steps)
    mine = [outcome(*batch) for batch in batches.in_order(share.start, share.stop)]
    if world() > 1:
        mine = all_gather_items([tuple(tensor.cpu() for tensor in tensors) for tensors in mine])
    return tuple(zip(*mine, strict=True))


@torch.no_grad()
def classify(
    network: nn.Module, batches: Batches, machine: Machine, classes: int, fed: NetworkInput = AS_STORED
) -> Classified:
    """Loss and predictions over a labelled split, in stored order, on the CPU."""
    network.eval()

    def outcome(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        logits = logits_of(network, images, machine, fed)
        predictions = labels_of(logits, classes)
        shares = logits[:, :classes].float().softmax(1)
        confidences = shares.gather(1, predictions[:, None])[:, 0]
        return cross_entropy(logits, labels) * len(labels), labels, predictions, confidences

    losses, *parts = each_batch(batches, outcome)
    loss = sum(torch.stack(losses).cpu()).item() / len(batches)
    return Classified(loss, *(torch.cat(part).cpu() for part in parts))


@torch.no_grad()
def extract_features(
    network: nn.Module, layer: Callable[[Tensor], Tensor], batches: Batches, machine: Machine
) -> tuple[Tensor, Tensor]:
    """Outputs (N, features) float32 of a ``layer`` of ``network``, and targets (N,), on the device, in stored order."""
    network.eval()

    def outcome(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with machine.autocast():
            return layer(AS_STORED(images)).float(), targets

    rows, targets = (torch.cat(parts).to(machine.device) for parts in each_batch(batches, outcome))
    return rows, targets


@torch.no_grad()
def tile_scores(
    network: nn.Module, batches: Batches, shapes: Sequence[tuple[int, int]], machine: Machine
) -> Iterator[Tensor]:
    """Logits of each tile of a split, (7, H_i, W_i) float32 on the device, at its mask's own size."""
    network.eval()
    sizes = iter(shapes)
    for images, _ in batches.in_order():
        for scores in logits_of(network, images, machine).float():  # (n, 7, S, S)
            yield at_size(scores, next(sizes))


@torch.no_grad()
def segment(
    network: nn.Module, batches: Batches, masks: Sequence[np.ndarray], machine: Machine, loss: PixelLoss
) -> tuple[float, Tensor]:
    """Mean over N tiles of ``loss``, and each tile's confusion counts (N, 7, 7) over all its pixels, Unknown too."""
    network.eval()

    def outcome(images: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        losses, confusions = [], []
        truths = send([torch.from_numpy(masks[position]) for position in positions.tolist()], machine.device)
        for scores, truth in zip(logits_of(network, images, machine).float(), truths, strict=True):
            scores = at_size(scores, truth.shape)
            losses.append(loss(scores[None], truth[None]))
            confusions.append(count_confusion(truth, most_likely(scores), len(LAND_COVER)))
        return torch.stack(losses), torch.stack(confusions)

    losses, confusions = (torch.cat(parts).cpu() for parts in each_batch(batches, outcome))
    return sum(losses).item() / len(masks), confusions
