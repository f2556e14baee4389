"""How sure a classifier is of what it says, and how right it is then."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hw1.engine.metrics import count_confusion
from hw1.engine.validation import each_batch, labels_of, logits_of
from hw1.images.batches import Batches
from hw1.images.input import NetworkInput
from hw1.images.machine import Machine

BINS = 15  # of equal width, as Guo et al. 2017 (arXiv:1706.04599) count them


@dataclass(frozen=True)
class Answers:
    """What a classifier says of the N images of a split, on the CPU: true and predicted ``labels`` (N,) int64, and the
    softmax share of the predicted class, ``confidences`` (N,) float32.
    """

    labels: Tensor
    predictions: Tensor
    confidences: Tensor

    def confusion(self, classes: int) -> Tensor:
        """Counts (classes, classes), see :func:`hw1.engine.metrics.count_confusion`."""
        return count_confusion(self.labels, self.predictions, classes)

    def reliability(self) -> list[list[float]]:
        """For each bin of confidence that has images: their number, mean confidence, and share that is right."""
        confidences, right = self.confidences.double().numpy(), (self.predictions == self.labels).numpy()
        bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
        chosen = [bins == number for number in np.unique(bins)]
        return [[int(some.sum()), confidences[some].mean(), right[some].mean()] for some in chosen]

    def mistakes(self, count: int) -> list[int]:
        """Positions of the wrong answers that it was surest of, the surest first; of equals the first."""
        wrong = (self.predictions != self.labels).nonzero().flatten()
        return wrong[self.confidences[wrong].argsort(descending=True, stable=True)[:count]].tolist()


def calibration_error(reliability: Sequence[Sequence[float]]) -> float:
    """The expected calibration error of :meth:`Answers.reliability`: how far confidence and share right lie apart, the
    mean over images.
    """
    return sum(count * abs(sure - right) for count, sure, right in reliability) / sum(row[0] for row in reliability)


@torch.no_grad()
def answers(network: nn.Module, batches: Batches, machine: Machine, classes: int, fed: NetworkInput) -> Answers:
    """The answers of a network over a labelled split, in stored order."""
    network.eval()

    def outcome(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        logits = logits_of(network, images, machine, fed)
        predictions = labels_of(logits, classes)
        shares = logits[:, :classes].float().softmax(1)
        return labels, predictions, shares.gather(1, predictions[:, None])[:, 0]

    return Answers(*(torch.cat(parts).cpu() for parts in each_batch(batches, outcome)))


def told(seen: Answers, names: Sequence[str], positions: Sequence[int]) -> list[dict[str, Any]]:
    """The answers at ``positions``, in words for summary.json."""
    return [
        {
            "image": names[index],
            "label": int(seen.labels[index]),
            "prediction": int(seen.predictions[index]),
            "confidence": round(float(seen.confidences[index]), 4),
        }
        for index in positions
    ]
