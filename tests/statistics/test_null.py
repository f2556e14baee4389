"""Verdicts where there is nothing to find, and where there is: drawn again and again, with the tests as they are.

With nothing to find a rule says something in at most 5 % of the draws; of so many draws more than LIMIT of them would
come by chance in less than one suite of a thousand.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from hw1.data.classes import LAND_COVER
from hw1.statistics import claims, intervals
from hw1.statistics.claims import FAILS, HOLDS, SEEN, tried, verdict
from hw1.statistics.comparison import accuracy_pairs, iou_pairs, ious_of, to_frame
from hw1.statistics.published import P2_SETTINGS
from hw1.statistics.replications import SEED_PAIRS, seed_pairs

DRAWS = 100
LIMIT = int(binom.ppf(0.999, DRAWS, 0.05))


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 1_000)


def tile_table(draw, tiles, shares):
    """Pixels of the same tiles, of each class of which a model hits about its share."""
    truth, rows = 600 * draw.dirichlet(np.full(6, 0.5), tiles), []
    for model, share in shares.items():
        both = truth * np.clip(share + 0.15 * draw.standard_normal((tiles, 6)), 0, 1)
        spilled = (truth - both).sum(1, keepdims=True) * draw.dirichlet(np.ones(6), tiles)
        for tile in range(tiles):
            for code, name in enumerate(LAND_COVER[:-1]):
                numbers = (both[tile, code], truth[tile, code], both[tile, code] + spilled[tile, code], 600)
                rows.append((f"{tile:04d}", model, name, *numbers))
    return pd.DataFrame(rows, columns=["image", "model", "class", "both", "truth", "predicted", "pixels"])


@pytest.mark.parametrize(
    "tiles, better, draws, seen",
    [*((tiles, 0.0, DRAWS, range(LIMIT + 1)) for tiles in (2, 3, 4, 5, 10, 20)), (20, 0.15, 50, range(45, 51))],
)
def test_segmenters_are_told_apart_where_one_is_better_and_else_seldom(tiles, better, draws, seen):
    draw = np.random.default_rng(tiles)
    tables = [tile_table(draw, tiles, {"A": 0.6, "B": 0.6 + better}) for _ in range(draws)]
    assert sum(iou_pairs(ious_of(table))[0]["p"] < 0.05 for table in tables) in seen


def images(draw, count=400):
    """Predictions of five settings on the same images, right with the same probability."""
    chance = 1 / (1 + np.exp(-draw.standard_normal(count)))
    label = draw.integers(0, 9, count)
    columns = {key: np.where(draw.random(count) < chance, label, label + 1) for key in "ABCDE"}
    return pd.DataFrame({"image": [f"{index}" for index in range(count)], "label": label, **columns})


def of_seeds(draw, gain):
    """Verdicts of all claims of order of problem 2, over five seeds that differ as well."""
    hard = draw.standard_normal(200)
    own = {key: hard + draw.standard_normal(200) for key in "ABCDE"}  # what each setting finds hard
    values = {}
    for index, key in enumerate("EACDB"):
        chance = 1 / (1 + np.exp(-(own[key] + gain * (index - 2) + 0.2 * draw.standard_normal((5, 1)))))
        values[key] = (draw.random((5, 200)) < chance).astype(float)
    table = to_frame(seed_pairs("p2", values), SEED_PAIRS)
    return [
        verdict([claims.difference("p2", *pair, table.head(0), table) for pair in order.pairs])
        for order in claims.ORDERS
        if order.problem == "p2"
    ]


def test_five_seeds_of_equal_settings_seldom_give_a_verdict():
    draw = np.random.default_rng(1)
    for of_claim in zip(*(of_seeds(draw, gain=0.0) for _ in range(DRAWS)), strict=True):
        assert sum(each in (HOLDS, FAILS) for each in of_claim) <= LIMIT


def test_five_seeds_of_unequal_settings_give_the_right_verdicts():
    draw = np.random.default_rng(2)
    found = [of_seeds(draw, gain=1.2) for _ in range(20)]  # E, A, C, D, B from the worst to the best
    names = [order.key for order in claims.ORDERS if order.problem == "p2"]
    for name, of_claim in zip(names, zip(*found, strict=True), strict=True):
        assert of_claim.count(FAILS if name == "p2_frozen_below_full" else HOLDS) >= 16, name


def test_settings_that_are_equal_in_these_weights_are_seldom_seen_apart():
    draw = np.random.default_rng(3)
    drawn = (accuracy_pairs("p2", images(draw)) for _ in range(DRAWS))
    assert sum(any(pair["resolved"] for pair in pairs) for pairs in drawn) <= LIMIT


def test_masks_that_do_not_change_are_seldom_seen_to_rise_and_those_that_do_are():
    draw = np.random.default_rng(4)
    none = to_frame([], SEED_PAIRS), to_frame([], SEED_PAIRS)
    points = pd.DataFrame({"method": "tsne", "epoch": 1, "x": range(12), "y": range(12), "label": [0, 1] * 6})

    def seen(gain):
        shares = {f"{model} {epoch}": 0.4 + gain * epoch for model in "AB" for epoch in (1, 2, 3)}
        *_, masks = tried(*none, points, tile_table(draw, 20, shares), P2_SETTINGS)
        return masks["here"] == SEEN

    assert sum(seen(0.0) for _ in range(50)) <= binom.ppf(0.999, 50, 0.05)
    assert sum(seen(0.15) for _ in range(10)) >= 8


def test_the_reports_figures_of_equal_settings_are_seldom_called_resolved():
    draw = np.random.default_rng(5)
    resolved = 0
    for _ in range(DRAWS):
        accuracy = {key: 100 * draw.binomial(406, 0.5) / 406 for key in "ABCDE"}
        resolved += any(p < 0.05 for p in claims.printed_p_values(accuracy, 406).values())
    assert resolved <= LIMIT
