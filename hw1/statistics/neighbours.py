"""A number for a scatter plot: how often near points in the plane carry the same label."""

import numpy as np


def same_label(points: np.ndarray, labels: np.ndarray, neighbours: int = 10) -> np.ndarray:
    """(N,) the share of each point's nearest neighbours that carry its label.

    ``points`` (N, 2) float, ``labels`` (N,); N above 1. Euclidean distance, the point itself left out; with fewer than
    ``neighbours`` + 1 points all others are neighbours.
    """
    neighbours = min(neighbours, len(points) - 1)
    squares = (points**2).sum(axis=1)
    distance = squares[:, None] + squares[None, :] - 2 * points @ points.T  # (N, N)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argpartition(distance, neighbours - 1, axis=1)[:, :neighbours]  # (N, neighbours)
    return (labels[nearest] == labels[:, None]).mean(axis=1)


def neighbour_agreement(points: np.ndarray, labels: np.ndarray, neighbours: int = 10) -> tuple[float, float]:
    """(measured, by chance): the mean of :func:`same_label` over the points.

    "By chance" is the value expected if the same labels were dealt to the points at random.
    """
    count, sizes = len(points), np.unique(labels, return_counts=True)[1]
    chance = (sizes * (sizes - 1)).sum() / (count * (count - 1))
    return float(same_label(points, labels, neighbours).mean()), float(chance)
