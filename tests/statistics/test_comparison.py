"""Statistics of predictions, worked by hand, and against statsmodels and SciPy."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import bootstrap
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from hw1.data.classes import LAND_COVER, ious, mean_of
from hw1.engine.metrics import iou, majority_confusion, mean_iou, overlaps
from hw1.statistics import comparison


def predictions(images=40, **right):
    """Labels all 0; each model has the given images right, by number."""
    columns = {model: [0 if image in which else 1 for image in range(images)] for model, which in right.items()}
    return pd.DataFrame({"image": [f"{i}.jpg" for i in range(images)], "label": 0} | columns)


@pytest.fixture
def table():
    """A 30 of 40, B 20, C 28; 15 images that only A, 5 that only B has right."""
    return predictions(A=range(30), B=[*range(15), *range(30, 35)], C=range(2, 30))


def test_intervals_are_wilsons(table):
    for row, count in zip(comparison.accuracy_intervals("p2", table), (30, 20, 28), strict=True):
        assert row["value"] == count / 40 and row["images"] == 40
        assert (row["low"], row["high"]) == pytest.approx(proportion_confint(count, 40, method="wilson"))


def pair(rows, first, second):
    return next(row for row in rows if (row["first"], row["second"]) == (first, second))


def test_pairs_are_compared_on_the_same_images(table):
    rows = comparison.accuracy_pairs("p2", table)
    assert len(rows) == 3
    row = pair(rows, "A", "B")
    assert (row["only_first"], row["only_second"], row["difference"]) == (15, 5, 0.25)
    # 2 P(at most 5 of 20 coins) = 2 x 21,700 / 2^20
    assert row["p"] == pytest.approx(2 * 21_700 / 2**20)
    assert row["p"] == pytest.approx(mcnemar([[15, 15], [5, 5]], exact=True).pvalue)
    # Of the difference's bootstrap values: mean 0.25, standard deviation sqrt((20/40 - 0.25^2) / 40) = 0.1046
    assert row["low"] == pytest.approx(0.25 - 1.96 * 0.1046, abs=0.03)
    assert row["high"] == pytest.approx(0.25 + 1.96 * 0.1046, abs=0.03)


def holms(rows):
    return pytest.approx(multipletests([row["p"] for row in rows], method="holm")[1])


def test_holms_correction_is_that_of_an_independent_library_and_decides(table):
    rows = comparison.accuracy_pairs("p2", table)
    assert [row["p_holm"] for row in rows] == holms(rows)
    two = pair(rows, "A", "C")  # images that only one has right
    assert (two["only_first"], two["only_second"], two["p"], two["resolved"]) == (2, 0, pytest.approx(0.5), 0)
    (equal,) = comparison.accuracy_pairs("p1", predictions(A=range(20), B=range(20)))
    assert (equal["difference"], equal["p"], equal["resolved"]) == (0, 1, 0)


@pytest.fixture
def tiles():
    """Confusion counts (models, tiles, 7, 7) on the same truth; the third class is nowhere."""
    draw = np.random.default_rng(0)
    truth = draw.integers(100, 400, (12, 7))
    shares = np.stack([draw.dirichlet(np.full(7, weight), (12, 7)) for weight in (1.0, 1.0)])
    shares[1] = 0.3 * shares[1] + 0.7 * np.eye(7)
    counts = (shares * truth[:, :, None]).astype(int)
    counts[..., 6] += truth - counts.sum(-1)  # what rounding left over is Unknown
    counts[:, :, 2, :] = counts[:, :, :, 2] = 0
    counts[..., 6] += np.where(np.arange(7) == 2, 0, truth - counts.sum(-1))
    return counts


def rows_of(tiles):
    rows = []
    for model, counts in zip("AB", torch.from_numpy(tiles), strict=True):
        for index, (each, pixels) in enumerate(
            zip(overlaps(counts).tolist(), counts.sum((1, 2)).tolist(), strict=True)
        ):
            rows += [
                (f"{index:04d}", model, name, *row, pixels) for name, row in zip(LAND_COVER[:-1], each, strict=True)
            ]
    return pd.DataFrame(rows, columns=["image", "model", "class", "both", "truth", "predicted", "pixels"])


def test_values_are_those_of_the_metrics(tiles):
    rows = comparison.iou_intervals(comparison.ious_of(rows_of(tiles)))
    values = {(row["model"], row["measure"]): row["value"] for row in rows}
    for model, counts in zip("AB", torch.from_numpy(tiles).sum(1), strict=True):
        assert values[model, "miou"] == pytest.approx(mean_iou(counts))
        for name, value in zip(LAND_COVER, iou(counts), strict=False):
            assert values.get((model, f"iou.{name}")) == (None if value is None else pytest.approx(value))
    assert all(row["low"] < row["value"] < row["high"] for row in rows)
    assert {row["model"] for row in rows} == {"A", "B"}


def test_interval_of_the_mean_iou_is_that_of_scipys_bootstrap(tiles):
    counts = overlaps(torch.from_numpy(tiles[0])).numpy()

    def statistic(index, axis=-1):
        return mean_of(ious(counts[index.astype(int)].sum(index.ndim - 1)))

    reference = bootstrap(
        (np.arange(12),), statistic, vectorized=True, axis=-1, method="percentile", random_state=1, n_resamples=10_000
    ).confidence_interval
    row = comparison.iou_intervals(comparison.ious_of(rows_of(tiles)))[0]
    width = row["high"] - row["low"]
    assert (row["low"], row["high"]) == pytest.approx(reference, abs=0.06 * width)


def test_segmenters_are_compared_with_each_other_and_with_the_commonest_class_everywhere(tiles):
    rows = comparison.iou_pairs(comparison.ious_of(rows_of(tiles)))
    classes, rows = ([row for row in rows if (row["measure"] == "miou") == mean] for mean in (False, True))
    worse = pair(rows, "A", "B")
    assert worse["high"] < 0 and worse["p"] == 2 / 2**12  # no other swap of 12 tiles is as far apart
    row, counts = pair(rows, "B", comparison.MAJORITY), torch.from_numpy(tiles).sum(1)
    assert row["difference"] == pytest.approx(mean_iou(counts[1]) - mean_iou(majority_confusion(counts[1])))
    assert row["resolved"] == worse["resolved"] == 1
    assert [each["p_holm"] for each in rows] == holms(rows) and len(rows) == 3
    assert [each["measure"] for each in classes] == [f"iou.{name}" for name in LAND_COVER[:6] if name != "rangeland"]
    assert [each["p_holm"] for each in classes] == holms(classes)  # corrected for all of them


def test_order_of_the_rows_does_not_matter(tiles):
    table = rows_of(tiles)
    mixed = table.sample(frac=1, random_state=3).sort_values("model", kind="stable")  # the first seen is A
    first, second = (pair(comparison.iou_pairs(comparison.ious_of(each)), "A", "B") for each in (table, mixed))
    assert first["difference"] == pytest.approx(second["difference"])
