"""Power: differences promised to be seen are seen, in simulations of the very tests and by an independent library."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.power import TTestPower, zt_ind_solve_power

from hw1.statistics.intervals import Spread, images_needed, over_seeds_and_images, resolvable, superiority

TRUE = Spread(between_seeds=0.02**2, between_images=0.3**2, rest=0.35**2, seeds=5, images=400)


def drawn(spread, difference, draws, seed=0):
    """Values (seeds, images) of a mean ``difference``, again and again."""
    draw, shape = np.random.default_rng(seed), (spread.seeds, spread.images)
    for _ in range(draws):
        yield (
            difference
            + spread.between_seeds**0.5 * draw.standard_normal((shape[0], 1))
            + spread.between_images**0.5 * draw.standard_normal((1, shape[1]))
            + spread.rest**0.5 * draw.standard_normal(shape)
        )


def test_resolvable_difference_and_images_needed_are_those_of_an_independent_library():
    for count in (5, 30, 400):
        expected = TTestPower().solve_power(nobs=count, alpha=0.05, power=0.8)  # in standard deviations
        assert resolvable(1 / math.sqrt(count), count - 1) == pytest.approx(expected, rel=0.02)
    expected = zt_ind_solve_power(effect_size=0.05 / 0.5, alpha=0.05, power=0.8, ratio=0)  # of one sample
    assert images_needed(0.05, 0.5) == images_needed(-0.05, 0.5) == math.ceil(expected)
    assert images_needed(0.0, 0.5) == math.inf


def test_variances_are_found_again_on_average_and_their_shares_are_those_of_the_mean():
    values = list(drawn(TRUE, 0.1, 4000))
    found = [Spread.of(each) for each in values[:300]]
    for name in ("between_seeds", "between_images", "rest"):
        assert np.mean([getattr(each, name) for each in found]) == pytest.approx(getattr(TRUE, name), rel=0.15), name
    from_seeds, from_images = TRUE.shares
    whole = TRUE.between_seeds / 5 / from_seeds
    assert np.var([each.mean() for each in values]) == pytest.approx(whole, rel=0.08)
    assert from_images == pytest.approx(TRUE.between_images / 400 / whole)
    assert 0 < 1 - from_seeds - from_images < 1


@pytest.mark.parametrize("seeds, images", [(5, 400), (10, 100)])
def test_resolvable_difference_is_resolved_four_times_in_five(seeds, images):
    spread = Spread(TRUE.between_seeds, TRUE.between_images, TRUE.rest, seeds, images)
    difference = spread.resolvable(seeds, images)
    seen = [over_seeds_and_images(values).p < 0.05 for values in drawn(spread, difference, 1500)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.05)


def test_seeds_and_images_needed_just_see_the_difference():
    difference = 0.06
    seeds, images = int(TRUE.seeds_needed(difference)), int(TRUE.images_needed(difference))
    assert TRUE.resolvable(seeds, 400) <= difference < TRUE.resolvable(seeds - 1, 400)
    assert TRUE.resolvable(5, images) <= difference < TRUE.resolvable(5, images - 1)
    assert TRUE.seeds_needed(0.0) == TRUE.images_needed(0.0) == math.inf
    assert TRUE.seeds_needed(0.02) == math.inf  # the images alone hide it


@pytest.mark.parametrize("effect", [0.0, 0.8, 2.0])
def test_interval_of_the_probability_to_win_covers_it(effect):
    draw = np.random.default_rng(1)
    truth, covered, found = norm.cdf(effect), 0, []
    for _ in range(1000):
        value, low, high = superiority(effect + draw.standard_normal(5), step=1e-6)
        covered += low <= truth <= high
        found.append(value)
        assert low <= value <= high
    assert covered / 1000 == pytest.approx(0.95, abs=0.02)
    assert np.mean(found) == pytest.approx(truth, abs=0.06)
    value, low, high = superiority(np.full(5, 0.1), step=0.01)  # all alike: what rounding hides is left
    assert value == 1.0 and 0.9 < low <= high <= 1.0
