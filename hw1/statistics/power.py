"""How large a difference must be to be seen, how many images or seeds see it, and how sure it is to come again.

"Seen" is: resolved by a two-sided test at 5 % with a power of 80 %, of one comparison by itself. Differences are of
fractions 0..1; arrays of NumPy in, floats out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hw1.statistics.intervals import Mean, mean_squares, over_seeds, satterthwaite

POWER = 0.8
MOST = 10**7  # images or seeds; more are as good as none


def resolvable(error: float, freedom: float = math.inf) -> float:
    """The smallest difference that is seen where differences have this standard error."""
    return error * (_t(0.975, freedom) + _t(POWER, freedom))


def images_needed(difference: float, deviation: float) -> float:
    """Images on which ``difference`` is seen, of whose values on single images this is the standard deviation.

    Infinite for no difference.
    """
    enough = resolvable(deviation) / abs(difference) if difference else math.inf
    return float(math.ceil(enough**2)) if enough**2 < MOST else math.inf


def _t(share: float, freedom: float) -> float:
    from scipy.special import ndtri, stdtrit

    return float(ndtri(share) if math.isinf(freedom) else stdtrit(freedom, share))


@dataclass(frozen=True)
class Spread:
    """Why values (S seeds, N images) differ: the variance ``between_seeds``, ``between_images``, and of what is left in
    a single cell.
    """

    between_seeds: float
    between_images: float
    rest: float
    seeds: int
    images: int

    @classmethod
    def of(cls, values: np.ndarray) -> "Spread":
        """Estimated from the mean squares of the two-way table; a negative estimate is zero."""
        seeds, images = values.shape
        of_seeds, of_images, rest = mean_squares(values)
        return cls(max(0.0, of_seeds - rest) / images, max(0.0, of_images - rest) / seeds, rest, seeds, images)

    @property
    def shares(self) -> tuple[float, float]:
        """Of the variance of the mean: what comes from the seeds, and what from the images; the rest from both."""
        parts = self.between_seeds / self.seeds, self.between_images / self.images
        whole = sum(parts) + self.rest / (self.seeds * self.images)
        return (parts[0] / whole, parts[1] / whole) if whole else (0.0, 0.0)

    def resolvable(self, seeds: int, images: int) -> float:
        """The smallest difference that so many seeds and images see."""
        of_seeds, of_images = images * self.between_seeds + self.rest, seeds * self.between_images + self.rest
        total = of_seeds + of_images - self.rest
        parts = ((of_seeds, seeds - 1), (of_images, images - 1), (self.rest, (seeds - 1) * (images - 1)))
        return resolvable(math.sqrt(total / (seeds * images)), satterthwaite(total, parts, without=math.inf))

    def seeds_needed(self, difference: float) -> float:
        """Seeds that see ``difference`` on these images; infinite where no number of them does."""
        return _smallest(lambda seeds: self.resolvable(seeds, self.images) <= abs(difference))

    def images_needed(self, difference: float) -> float:
        """Images on which these seeds see ``difference``; infinite where no number of them does."""
        return _smallest(lambda images: self.resolvable(self.seeds, images) <= abs(difference))


def _smallest(enough: Callable[[int], bool]) -> float:
    """The smallest number from 2 to ``MOST`` that is enough, if with it every larger one is; else infinity."""
    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST:
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)


def superiority(differences: np.ndarray, step: float) -> tuple[float, float, float]:
    """The probability that the difference is above zero with a new seed, on these images, and its 95 % interval.

    ``differences`` (S,) of S seeds are taken as normally distributed; they come in steps of ``step``. The interval is
    that of the mean in standard deviations, from the noncentral t distribution.
    """
    from scipy.special import nctdtrinc, ndtr

    mean: Mean = over_seeds(differences, step)
    root = math.sqrt(len(differences))
    t = mean.value / mean.error
    low, high = (float(nctdtrinc(mean.freedom, share, t)) / root for share in (0.975, 0.025))
    return tuple(float(ndtr(value)) for value in (t / root, low, high))
