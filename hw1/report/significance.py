"""How much an accuracy measured on n images can say: intervals, tests and their correction.

Plain formulas on the standard library, so that every reader of the numbers can use them.
"""

import math
from collections.abc import Sequence

Z95 = 1.959963984540054  # two-sided 95 % point of the normal distribution


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval (fractions) of a success share observed on n independent images."""
    centre = share + Z95**2 / (2 * n)
    reach = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    scale = 1 + Z95**2 / n
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)


def two_proportion_p(first: float, second: float, n: int) -> float:
    """Two-sided p-value of the pooled z-test for two shares of n images each, taken as independent samples.

    Two models scored on the same images mostly err on the same ones, which makes their difference
    less noisy than this test takes it to be: a difference it resolves is safe to call one.
    """
    pooled = (first + second) / 2
    if first == second:
        return 1.0
    z = (first - second) / math.sqrt(2 * pooled * (1 - pooled) / n)
    return math.erfc(abs(z) / math.sqrt(2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values in the given order: below 0.05 all together are wrong at most one time in 20."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
