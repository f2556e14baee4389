"""Verdicts over seeds, worked by hand; the mean IoU's values of single tiles, against the jackknife."""

import numpy as np
import pandas as pd
import pytest

from hw1.data.classes import LAND_COVER, ious, mean_of
from hw1.statistics import replications


def seeds(numbers, images=40):
    """Values by model, where each has so many of the first images right with each seed."""
    labels = pd.DataFrame({"image": [f"{i}.jpg" for i in range(images)], "label": 0})
    by_seed = {}
    for seed, counts in numbers.items():
        said = {model: (np.arange(images) >= count).astype(int) for model, count in counts.items()}
        by_seed[seed] = {"p2": labels.assign(**said)}
    return replications.values_of("p2", by_seed)


def test_mean_deviation_and_interval_over_seeds():
    rows = replications.seed_table("p2", seeds({1: {"A": 20}, 2: {"A": 24}, 3: {"A": 28}}))
    # accuracies 0.5, 0.6, 0.7: deviation 0.1, t(2) = 4.3027, reach 4.3027 x 0.1 / sqrt(3) = 0.2484
    expected = {"problem": "p2", "model": "A", "measure": "accuracy", "seeds": 3}
    numbers = {"mean": 0.6, "std": 0.1, "low": 0.3516, "high": 0.8484}
    assert rows == [expected | {name: pytest.approx(number, abs=1e-4) for name, number in numbers.items()}]


RISING = {seed: {"A": 100 + seed, "B": 160 + 2 * seed} for seed in range(5)}
TURNED = {1: {"A": 100, "B": 160}, 2: {"A": 160, "B": 100}, 3: {"A": 100, "B": 150}}
OF_TWO_IMAGES = {seed: {"A": 8, "B": 10} for seed in range(10)}


@pytest.mark.parametrize(
    "numbers, images, holds, more",
    [
        (RISING, 200, 1, lambda row: row["difference"] == pytest.approx(-0.31) and row["high"] < 0),
        (
            {seed: RISING[seed] for seed in range(4)},
            200,
            0,
            lambda row: row["p_holm"] < 0.001,
        ),  # four seeds are too few
        (TURNED, 200, 0, lambda row: row["low"] < 0 < row["high"]),
        (OF_TWO_IMAGES, 20, 0, lambda row: 0 < row["p_seeds"] < 1e-4),  # over the seeds alone there is no doubt
    ],
)
def test_difference_holds_that_five_seeds_and_many_images_agree_on(numbers, images, holds, more):
    (row,) = replications.seed_pairs("p2", seeds(numbers, images))
    assert (row["holds"], row["seeds"], row["images"]) == (holds, len(numbers), images)
    assert more(row)


def test_pair_says_what_it_would_take_and_how_sure_it_is():
    draw = np.random.default_rng(0)
    values = {model: (draw.random((5, 300)) < share).astype(float) for model, share in (("A", 0.5), ("B", 0.7))}
    (row,) = replications.seed_pairs("p1", values)
    assert row["beats"] < 0.05 and row["beats_low"] <= row["beats"] <= row["beats_high"]
    assert 0 < row["resolvable"] < 0.2 and row["seeds_needed"] <= 5 and row["images_needed"] <= 300
    assert 0 <= row["from_seeds"] + row["from_images"] <= 1
    assert set(row) == set(replications.SEED_PAIRS)


@pytest.fixture
def tiles():
    """Predictions of two models on thirty tiles of 1,000 pixels; barren is nowhere."""
    draw, rows = np.random.default_rng(0), []
    for tile in range(30):
        truth = draw.multinomial(1000, draw.dirichlet([2, 2, 2, 2, 2, 0.001]) * [1, 1, 1, 1, 1, 0])
        truth[5] = 0
        for model, skill in (("A", 0.4), ("B", 0.7)):
            both = draw.binomial(truth, skill)
            wrong = draw.multinomial((truth - both).sum(), [0.2] * 5)
            for label, t, b, w in zip(LAND_COVER[:6], truth, both, [*wrong, 0], strict=True):
                rows.append((f"{tile:04d}", model, label, b, t, b + w, 1000))
    return pd.DataFrame(rows, columns=["image", "model", "class", "both", "truth", "predicted", "pixels"])


def test_tiles_values_average_to_the_mean_iou_and_spread_as_it_does(tiles):
    values = replications.values_of("p3", {1: {"p3": tiles}})["B"][0]
    groups = tiles[tiles["model"] == "B"].groupby("image")
    counts = np.stack([group[["both", "truth", "predicted"]].to_numpy() for _, group in groups])

    def miou(chosen):
        return float(mean_of(ious(chosen.sum(0))))

    assert values.mean() == pytest.approx(miou(counts))
    left_out = np.array([miou(np.delete(counts, index, 0)) for index in range(30)])
    jackknife = np.sqrt(29 / 30 * ((left_out - left_out.mean()) ** 2).sum())
    assert values.std(ddof=1) / np.sqrt(30) == pytest.approx(jackknife, rel=0.05)
