"""Formulas worked by hand, and against statsmodels."""

import numpy as np
import pytest

from hw1.statistics import intervals
from hw1.statistics.intervals import bootstrap, holm, mcnemar_p, over_seeds, over_seeds_and_images, swap_p


@pytest.mark.parametrize(
    "share, n, interval",
    [
        (0.5, 100, (0.40383, 0.59617)),  # centre 0.5; reach 1.96 sqrt(0.0025 + 3.8415 / 40000) / 1.038415 = 0.09617
        (0.0, 10, (0.0, 0.27753)),  # 0 to z^2 / (n + z^2) = 3.8415 / 13.8415
        (1.0, 10, (0.72247, 1.0)),
    ],
)
def test_wilson_interval_of_hand_worked_cases(share, n, interval):
    assert intervals.wilson_interval(share, n) == pytest.approx(interval, abs=1e-5)


def test_two_proportion_p_of_a_hand_worked_case():
    # pooled 0.55, standard error sqrt(2 x 0.2475 / 200) = 0.049749, z = 2.0101
    assert intervals.two_proportion_p(0.6, 0.5, 200) == pytest.approx(0.04442, abs=1e-4)
    assert intervals.two_proportion_p(0.5, 0.6, 200) == intervals.two_proportion_p(0.6, 0.5, 200)
    assert [intervals.two_proportion_p(share, share, 100) for share in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


def test_holm_multiplies_by_the_tests_left_and_never_falls():
    # sorted 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1 raised to the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@pytest.mark.parametrize(
    "first, second, p", [(0, 0, 1.0), (5, 5, 1.0), (1, 0, 1.0), (6, 0, 2 / 64), (1, 9, 2 * 11 / 1024)]
)
def test_mcnemars_exact_p(first, second, p):
    assert mcnemar_p(first, second) == pytest.approx(p)
    assert mcnemar_p(second, first) == pytest.approx(p)


def test_bootstrap_of_a_mean_has_its_standard_error():
    values = np.random.default_rng(0).normal(3, 2, (100, 1))
    drawn = bootstrap(values, lambda sums: sums / 100)
    assert drawn.shape == (10_000, 1)
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.01)
    assert drawn.std() == pytest.approx(values.std() / 10, rel=0.03)
    assert intervals.percentile_interval(np.array([*range(1001), np.nan])) == (25, 975)  # of what is a number


def test_bootstrap_repeats_itself_and_draws_the_same_images_for_all_models():
    counts = np.random.default_rng(0).integers(0, 2, (50, 1)).repeat(2, axis=1)
    drawn = bootstrap(counts, lambda sums: sums / 50)
    assert (drawn[:, 0] == drawn[:, 1]).all() and (drawn == bootstrap(counts, lambda sums: sums / 50)).all()


def test_swaps_of_few_images_are_all_tried_and_those_of_many_are_mcnemars_test():
    # Of three images that the second has right and the first has not, two of the eight swaps are as far apart.
    counts = np.array([[0, 1]] * 3)[..., None]
    assert swap_p(counts, lambda sums: sums).tolist() == [2 / 8]
    assert swap_p(counts[:1], lambda sums: sums).tolist() == [1]
    counts = np.array([[1, 0]] * 15 + [[0, 1]] * 5 + [[1, 1]] * 20)[..., None]
    assert swap_p(counts, lambda sums: sums).tolist() == [pytest.approx(mcnemar_p(15, 5), abs=0.01)]
    with np.errstate(invalid="ignore"):  # a statistic that is no number has no evidence
        assert swap_p(np.zeros((3, 2, 1)), lambda sums: sums / sums).tolist() == [1]


def test_mean_over_seeds_is_students():
    mean = over_seeds(np.array([1.0, 2.0, 3.0]), step=0.0)
    assert (mean.value, mean.error, mean.freedom) == (2, pytest.approx(1 / 3**0.5), 2)
    assert mean.interval == pytest.approx((2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), rel=1e-5)
    assert mean.p == pytest.approx(0.07418, abs=1e-5)  # t = 3.4641
    # Equal values of all seeds leave the doubt that rounding hides.
    assert over_seeds(np.array([0.5, 0.5]), step=0.01).error == pytest.approx(0.01 / 12**0.5 / 2**0.5)
    assert over_seeds(np.array([0.005, 0.005]), step=0.0025).p > 0.05  # two images of 400 in two seeds


def test_variance_over_seeds_and_images_is_that_of_the_two_way_table():
    # Rows 1, 2, 3 and 5, 6, 9: means 2 and 20/3, of columns 3, 4, 6; all 13/3.
    mean = over_seeds_and_images(np.array([[1.0, 2.0, 3.0], [5.0, 6.0, 9.0]]))
    of_seeds = 3 * ((2 - 13 / 3) ** 2 + (20 / 3 - 13 / 3) ** 2)  # 32.667, one degree
    of_images = 2 * ((3 - 13 / 3) ** 2 + (4 - 13 / 3) ** 2 + (6 - 13 / 3) ** 2) / 2  # 4.667, two degrees
    of_rest = 4 / 3 / 2  # left over: 1/3, 1/3, -2/3 and their opposites, two degrees
    assert mean.value == pytest.approx(13 / 3)
    assert mean.error**2 == pytest.approx((of_seeds + of_images - of_rest) / 6, rel=1e-9)
    assert over_seeds_and_images(np.full((3, 4), 0.5)).p == 0 and over_seeds_and_images(np.zeros((3, 4))).p == 1


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("spread_of_seeds, spread_of_images", [(0.3, 0.1), (0.05, 0.5), (0.0, 0.5)])
def test_interval_over_seeds_and_images_covers_the_truth_as_often_as_it_says(seeds, spread_of_seeds, spread_of_images):
    draw, covered, rounds = np.random.default_rng(5), 0, 1000
    for _ in range(rounds):
        cells = draw.normal(0, spread_of_seeds, (seeds, 1)) + draw.normal(0, spread_of_images, (1, 60))
        low, high = over_seeds_and_images(cells + draw.normal(0, 0.3, (seeds, 60))).interval
        covered += low <= 0 <= high
    assert 0.93 <= covered / rounds <= 0.985
