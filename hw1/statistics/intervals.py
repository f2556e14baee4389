"""Intervals, tests, their correction and their power, of numbers measured on n images or over a few seeds.

Arrays of NumPy in, floats out; differences are of fractions 0..1. A difference is "seen" if a two-sided test at 5 %
resolves it with a power of 80 %, as one comparison by itself.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, nctdtrinc, ndtr, ndtri, stdtr, stdtrit

Z95 = 1.959963984540054  # two-sided 95 % point of the normal distribution
RESAMPLES = 10_000
PART = 1_000  # resamples made at a time, which bounds the memory
SEED = 0  # of the resamples: the same numbers give the same intervals
POWER = 0.8
MOST = 10**7  # images or seeds; more are as good as none


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval (fractions) of a success share observed on n independent images."""
    centre = share + Z95**2 / (2 * n)
    reach = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    scale = 1 + Z95**2 / n
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)


def two_proportion_p(first: float, second: float, n: int) -> float:
    """Two-sided p-value of the pooled z-test for two shares of n images each, taken as independent samples.

    Published shares do not tell on which images they agree. Two models scored on the same images mostly err on the
    same ones, so their difference is less noisy than this test takes it to be: what it resolves is safe to call one.
    """
    pooled = (first + second) / 2
    if first == second:
        return 1.0
    z = (first - second) / math.sqrt(2 * pooled * (1 - pooled) / n)
    return math.erfc(abs(z) / math.sqrt(2))


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test: images that only the first, only the second model got right.

    Were both equally good, each of these images would fall to either like a coin (binomial distribution).
    """
    n = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), n, 0.5))) if n else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values in the given order: below 0.05 all together are wrong at most one time in 20."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def bootstrap(counts: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Compute a statistic of sums over images on RESAMPLES draws of as many images with replacement.

    counts (N, ...) numbers of each of N images; statistic maps sums (R, ...) to (R, K). Returns (RESAMPLES, K).
    """
    draw, n = np.random.default_rng(SEED), len(counts)
    flat, values = counts.reshape(n, -1).astype(np.float64), []
    for _ in range(RESAMPLES // PART):
        times = draw.multinomial(n, np.full(n, 1 / n), PART)  # (PART, N), how often each image is drawn
        values.append(statistic((times @ flat).reshape(PART, *counts.shape[1:])))
    return np.concatenate(values)


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of bootstrap values (R,); those that are no number are left out."""
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)


def swap_p(counts: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Two-sided p-values (K,) of the difference of two models on the same images, by swapping them image by image.

    Were both the same, each image's counts could be either's (a paired permutation test). Of up to 13 images every
    swap is tried, of more RESAMPLES at random: so of n images no p-value is below 2 / 2^n.

    counts (N, 2, ...) are numbers of each image and model; statistic maps sums (R, ...) to (R, K). A statistic that is
    no number, as of a class that no image has, has the p-value 1.
    """
    n, shape = len(counts), counts.shape[2:]
    flat = counts.reshape(n, 2, -1).astype(np.float64)
    total, change = flat.sum(0), flat[:, 1] - flat[:, 0]
    exact = 2**n <= RESAMPLES
    if exact:
        swapped = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        swapped = np.random.default_rng(SEED).integers(0, 2, (RESAMPLES, n), np.uint8)
    observed = np.abs(np.subtract(*(statistic(each.reshape(1, *shape))[0] for each in total)))
    beyond = 0
    for start in range(0, len(swapped), PART):
        moved = swapped[start : start + PART].astype(np.float64) @ change
        first, second = (statistic(sums.reshape(-1, *shape)) for sums in (total[0] + moved, total[1] - moved))
        with np.errstate(invalid="ignore"):
            beyond = beyond + (np.abs(first - second) >= observed - 1e-12).sum(0)
    p = beyond / len(swapped) if exact else (beyond + 1) / (len(swapped) + 1)
    return np.where(np.isnan(observed), 1.0, p)


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error and the degrees of freedom of the t distribution that goes with it."""

    value: float
    error: float
    freedom: float

    @property
    def interval(self) -> tuple[float, float]:
        """Student's 95 % interval."""
        reach = float(stdtrit(self.freedom, 0.975)) * self.error
        return self.value - reach, self.value + reach

    @property
    def p(self) -> float:
        """Two-sided p-value of the mean's being zero."""
        if not self.error:
            return 0.0 if self.value else 1.0
        return 2 * float(stdtr(self.freedom, -abs(self.value) / self.error))


def over_seeds(values: np.ndarray, step: float) -> Mean:
    """Mean over seeds (S,), S above 1, as if the images were the only ones: Student's t.

    Values come in steps of ``step`` (1 / N for shares of N images); equal ones vary by as much as rounding hides.
    """
    deviation = max(float(values.std(ddof=1)), step / math.sqrt(12))
    return Mean(float(values.mean()), deviation / math.sqrt(len(values)), len(values) - 1)


def over_seeds_and_images(values: np.ndarray) -> Mean:
    """Mean of values (S, N) over seeds and images that are both a sample of many, each seed met by each image.

    The two-way model with random effects that reader studies use (Dorfman, Berbaum and Metz 1992; degrees of
    freedom after Satterthwaite): what varies between seeds, between images, and what remains between the cells.
    """
    seeds, images = values.shape
    of_seeds, of_images, of_rest = mean_squares(values)
    total = of_seeds + of_images - of_rest
    if total <= max(of_seeds, of_images):  # no less than by either alone
        total, of_rest = max(of_seeds, of_images), 0.0
        parts = [(of_seeds, seeds - 1)] if of_seeds >= of_images else [(of_images, images - 1)]
    else:
        parts = [(of_seeds, seeds - 1), (of_images, images - 1), (of_rest, (seeds - 1) * (images - 1))]
    return Mean(float(values.mean()), math.sqrt(total / (seeds * images)), satterthwaite(total, parts, seeds - 1))


def mean_squares(values: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of the two-way table of values (S, N): of the seeds, of the images, and of what remains."""
    seeds, images = values.shape
    rows, columns = values.mean(1), values.mean(0)
    rest = values - rows[:, None] - columns + values.mean()
    of_rest = float((rest**2).sum() / ((seeds - 1) * (images - 1)))
    return images * float(rows.var(ddof=1)), seeds * float(columns.var(ddof=1)), of_rest


def satterthwaite(total: float, parts: Sequence[tuple[float, float]], without: float) -> float:
    """Degrees of freedom of ``total``, a sum or difference of mean squares, from (mean square, its degrees) of each
    (Satterthwaite 1946); ``without`` any variance.
    """
    weights = sum(part**2 / freedom for part, freedom in parts)
    return float(total**2 / weights) if weights else without


# -- power


def resolvable(error: float, freedom: float = math.inf) -> float:
    """The smallest difference that is seen where differences have this standard error."""

    def point(share: float) -> float:
        return float(ndtri(share) if math.isinf(freedom) else stdtrit(freedom, share))

    return error * (point(0.975) + point(POWER))


def images_needed(difference: float, deviation: float) -> float:
    """Images on which ``difference`` is seen, of whose values on single images this is the standard deviation.

    Infinite for no difference.
    """
    ratio = resolvable(deviation) / abs(difference) if difference else math.inf
    return float(math.ceil(ratio**2)) if ratio**2 < MOST else math.inf


@dataclass(frozen=True)
class Spread:
    """Variance of values (S seeds, N images): ``between_seeds``, ``between_images``, and the rest in a single cell."""

    between_seeds: float
    between_images: float
    rest: float
    seeds: int
    images: int

    @classmethod
    def of(cls, values: np.ndarray) -> "Spread":
        """Estimate from the mean squares of the two-way table; a negative estimate is zero."""
        seeds, images = values.shape
        of_seeds, of_images, rest = mean_squares(values)
        return cls(max(0.0, of_seeds - rest) / images, max(0.0, of_images - rest) / seeds, rest, seeds, images)

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of the variance of the mean that come from the seeds and from the images; the rest is from both."""
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
    """Probability that the difference is above zero with a new seed, on these images, and its 95 % interval.

    ``differences`` (S,) of S seeds are taken as normally distributed; they come in steps of ``step``. The interval is
    that of the mean in standard deviations, from the noncentral t distribution.
    """
    mean, root = over_seeds(differences, step), math.sqrt(len(differences))
    t = mean.value / mean.error
    low, high = (float(nctdtrinc(mean.freedom, share, t)) / root for share in (0.975, 0.025))
    return tuple(float(ndtr(value)) for value in (t / root, low, high))
