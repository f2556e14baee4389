"""How sure a classifier is of what it says, and how right it is then."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hw1.engine.validation import Classified

BINS = 15  # of equal width, as Guo et al. 2017 (arXiv:1706.04599) count them


def reliability(seen: Classified) -> list[list[float]]:
    """For each bin of confidence that has images: their number, mean confidence, and share that is right."""
    confidences, right = seen.confidences.double().numpy(), (seen.predictions == seen.labels).numpy()
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    chosen = [bins == number for number in np.unique(bins)]
    return [[int(some.sum()), confidences[some].mean(), right[some].mean()] for some in chosen]


def mistakes(seen: Classified, count: int) -> list[int]:
    """Positions of the wrong answers that a classifier was surest of, the surest first; of equals the first."""
    wrong = (seen.predictions != seen.labels).nonzero().flatten()
    return wrong[seen.confidences[wrong].argsort(descending=True, stable=True)[:count]].tolist()


def calibration_error(bins: Sequence[Sequence[float]]) -> float:
    """The expected calibration error of :func:`reliability`: how far confidence and share right lie apart, the
    mean over images.
    """
    return sum(count * abs(sure - right) for count, sure, right in bins) / sum(row[0] for row in bins)


def entries(seen: Classified, names: Sequence[str], positions: Sequence[int]) -> list[dict[str, Any]]:
    """What was said of the images at ``positions``, for summary.json."""
    return [
        {
            "image": names[index],
            "label": int(seen.labels[index]),
            "prediction": int(seen.predictions[index]),
            "confidence": round(float(seen.confidences[index]), 4),
        }
        for index in positions
    ]
