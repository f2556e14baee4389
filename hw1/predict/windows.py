"""Masks of tiles larger than the network's: overlapping windows, whose shares of each class are added up."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from hw1.data.classes import LAND_COVER
from hw1.engine.validation import most_likely
from hw1.predict.model import Predictor


def windowed_map(predictor: Predictor, pixels: np.ndarray) -> Tensor:
    """The class of each pixel of a tile (H, W, 3) uint8, at its own scale: (H, W) uint8 on the CPU.

    Windows have the side of the network's tiles and lie half a side apart. A window counts most in its middle and
    hardly at its edge, so none shows in the mask. A tile smaller than a window is continued by its edge. Of the shares
    only the rows of one window are in memory, 28 bytes a pixel.
    """
    height, width = pixels.shape[:2]
    side = predictor.card.crop
    pixels = np.pad(pixels, ((0, max(0, side - height)), (0, max(0, side - width)), (0, 0)), mode="edge")
    ramp = 1 - (2 * (torch.arange(side) + 0.5) / side - 1).abs()
    weight, lefts = torch.outer(ramp, ramp), starts(pixels.shape[1], side)
    sums = torch.zeros(len(LAND_COVER), side, pixels.shape[1])
    rows = []
    for top, following in pairwise([*starts(pixels.shape[0], side), pixels.shape[0]]):
        band = [pixels[top : top + side, left : left + side] for left in lefts]
        for left, shares in zip(lefts, _shares(predictor, band), strict=True):
            sums[:, :, left : left + side] += shares * weight
        done = following - top
        rows.append(most_likely(sums[:, :done]).byte())
        sums = torch.cat([sums[:, done:], torch.zeros(len(LAND_COVER), done, pixels.shape[1])], 1)
    return torch.cat(rows)[:height, :width]


def starts(length: int, side: int) -> list[int]:
    """Where windows of ``side`` begin along ``length`` px: half a side apart, the last one ends where it ends."""
    last = length - side
    return [*range(0, last, max(1, side // 2)), last]


def _shares(predictor: Predictor, windows: list[np.ndarray]) -> Iterator[Tensor]:
    """The softmax shares (7, S, S) of each window."""
    for first in range(0, len(windows), predictor.batch_size):
        yield from predictor.logits(windows[first : first + predictor.batch_size]).softmax(1).cpu()
