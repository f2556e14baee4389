"""PCA and t-SNE of features with a planted structure."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from hw1.evaluate.embeddings import degenerate, pca, tsne


@pytest.fixture(autouse=True)
def one_thread():
    """On a busy machine several wait for each other at each of t-SNE's thousand steps."""
    with threadpool_limits(1):
        yield


def clusters(count=20, width=60, distance=40.0):
    """Two clouds of unit noise, ``distance`` apart along one random direction, alternating."""
    rng = np.random.default_rng(0)
    direction = rng.normal(size=width)
    direction /= np.linalg.norm(direction)
    side = np.arange(count) % 2
    return (rng.normal(size=(count, width)) + distance * side[:, None] * direction).astype(np.float32), side


def test_pca_of_points_on_a_line_has_their_distances_by_hand():
    # Along (3, 4): lengths 0, 5, 10, 15, centred at 7.5.
    plane = pca(np.array([[0, 0], [3, 4], [6, 8], [9, 12]], np.float64))
    assert sorted(plane[:, 0]) == pytest.approx([-7.5, -2.5, 2.5, 7.5])
    assert plane[:, 1] == pytest.approx([0, 0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 40), (40, 3)])
def test_pca_gives_no_more_components_than_there_are(shape):
    assert pca(np.random.default_rng(0).normal(size=shape), 50).shape == (shape[0], 3)


@pytest.mark.parametrize("count", [4, 20])
def test_tsne_lowers_a_perplexity_that_is_too_large(count):
    plane = tsne(clusters(count)[0], perplexity=30.0, seed=1)
    assert plane.shape == (count, 2)
    assert np.isfinite(plane).all()


def test_tsne_keeps_neighbours_together_and_follows_from_its_seed():
    features, side = clusters(40)
    plane = tsne(features, perplexity=5.0, seed=1)
    distances = np.linalg.norm(plane[:, None] - plane, axis=-1) + np.diag(np.full(40, np.inf))
    assert (side[distances.argmin(1)] == side).all()
    assert np.array_equal(plane, tsne(features, perplexity=5.0, seed=1))


ROW = np.random.default_rng(0).normal(size=(1, 30)).astype(np.float32)
DEGENERATE = {
    "zeros": (np.zeros((40, 30), np.float32), "same"),
    "equal rows": (np.repeat(ROW, 40, axis=0), "same"),
    "rows that differ by rounding": (ROW * (1 + 1e-7 * (np.arange(40)[:, None] % 2)), "same"),
    "a NaN": (np.where(np.arange(40 * 30).reshape(40, 30) == 17, np.nan, clusters(40, 30)[0]), "numbers"),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_features_that_cannot_be_shown_are_one_point_and_are_told(name):
    features, reason = DEGENERATE[name]
    assert reason in degenerate(features)
    assert np.array_equal(pca(features), np.zeros((40, 2)))
    assert np.array_equal(tsne(features, 5.0, seed=1), np.zeros((40, 2)))


def test_one_image_that_differs_is_shown():
    features = np.repeat(ROW, 40, axis=0)
    features[7] += 1
    assert degenerate(features) == ""
    assert np.ptp(pca(features)[:, 0]) > 1
    assert np.isfinite(tsne(features, 5.0, seed=1)).all()
