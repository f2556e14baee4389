"""Loss and scores: of a batch's logits, and from integer counts summed over a whole set and divided once."""

import math

import torch
from torch import Tensor, nn

from hw1.data.classes import ious, mean_of


def cross_entropy(logits: Tensor, labels: Tensor, count: int | None = None) -> Tensor:
    """Mean cross entropy: logits (N, K), labels (N,) int64 -> scalar.

    ``count``: the images of the batch of which these N are a share; the shares' results add up to its mean.
    """
    return nn.functional.cross_entropy(logits.float(), labels, reduction="sum") / (count or len(labels))


def correct(logits: Tensor, labels: Tensor, count: int | None = None) -> Tensor:
    """Rows whose largest logit is the label, as a share of all (or of ``count``): scalar float32."""
    return (logits.argmax(1) == labels).sum() / (count or len(labels))


def count_confusion(truth: Tensor, prediction: Tensor, classes: int) -> Tensor:
    """Confusion counts (classes, classes) int64 on their device: rows are the truth, columns the prediction.

    truth and prediction are whole numbers of one shape, 0 to classes - 1.
    """
    cells = classes * classes
    kind = torch.uint8 if cells <= 256 else torch.int64  # a CPU counts bytes ten times as fast
    cell = truth.to(kind) * classes + prediction.to(kind)
    if cell.device.type == "cpu":
        counts = torch.bincount(cell.flatten(), minlength=cells)
    else:  # bincount would wait for the device to learn the largest cell
        one = torch.ones(1, dtype=torch.int64, device=cell.device)
        counts = torch.zeros(cells, dtype=torch.int64, device=cell.device)
        counts.scatter_add_(0, cell.flatten().long(), one.expand(cell.numel()))
    return counts.view(classes, classes)


def accuracy(confusion: Tensor) -> float:
    """Share of images predicted right: counts (K, K) -> fraction."""
    return confusion.diagonal().sum().item() / confusion.sum().item()


def overlaps(confusions: Tensor) -> Tensor:
    """Sums that IoUs are made of: counts (..., 7, 7) -> (..., 6, 3) int64, for each class but Unknown its pixels
    in truth and prediction, in the truth, and in the prediction.
    """
    sums = confusions.diagonal(dim1=-2, dim2=-1), confusions.sum(-1), confusions.sum(-2)
    return torch.stack(sums, dim=-1)[..., :-1, :]


def iou(confusion: Tensor) -> list[float | None]:
    """IoU of each class but Unknown over the whole set, as the course's scorer counts it.

    confusion is (7, 7) with Unknown as row and column 6, whose pixels are not masked: a class predicted there is a
    false positive. None for a class that is neither in the truth nor predicted.
    """
    return [None if math.isnan(value) else value for value in ious(overlaps(confusion).numpy()).tolist()]


def mean_iou(confusion: Tensor) -> float:
    """Mean of the IoUs that are defined; 0 if none is."""
    return float(mean_of(ious(overlaps(confusion).numpy())))


def majority_confusion(confusion: Tensor) -> Tensor:
    """Confusion counts of predicting the commonest known class (not Unknown) everywhere."""
    truth = confusion.sum(1)
    majority = torch.zeros_like(confusion)
    majority[:, truth[:-1].argmax()] = truth
    return majority
