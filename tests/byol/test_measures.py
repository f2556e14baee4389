"""Neighbours' votes and effective ranks worked by hand; the linear classifier beside scikit-learn's."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from hw1.byol.probes import PENALTY, TEMPERATURE, linear_scores, rankme, vote


def at(*degrees):
    """Unit vectors at angles, times what must not matter."""
    angles = torch.tensor(degrees, dtype=torch.float32).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1) * torch.arange(1, len(degrees) + 1)[:, None]


def test_nearest_in_angle_wins_whatever_its_length():
    assert vote(at(0, 90, 180), torch.tensor([2, 0, 1]), at(10, 80, 170), neighbours=1).tolist() == [2, 0, 1]


def test_two_near_neighbours_outvote_a_nearer_one():
    bank, labels = at(0, 20, 21), torch.tensor([0, 1, 1])
    assert vote(bank, labels, at(10), neighbours=3).tolist() == [1]
    assert vote(bank, labels, at(9), neighbours=1).tolist() == [0]


def test_votes_fade_with_the_angle():
    # One at 0 degrees weighs exp(0), three at 60 degrees exp(-0.5 / TEMPERATURE) each.
    assert 3 * np.exp(-0.5 / TEMPERATURE) < 1
    assert vote(at(0, 60, 60, 60), torch.tensor([0, 1, 1, 1]), at(0), neighbours=4).tolist() == [0]


def test_small_bank_votes_as_a_whole():
    assert vote(at(0, 5), torch.tensor([1, 1]), at(180), neighbours=20).tolist() == [1]


def test_many_queries_are_compared_in_parts():
    angles = torch.arange(3000) % 360
    assert vote(at(0, 180), torch.tensor([0, 1]), at(*angles.tolist()), 1).tolist() == [
        int(90 < angle < 270) if angle not in (90, 270) else vote(at(0, 180), torch.tensor([0, 1]), at(angle), 1).item()
        for angle in angles.tolist()
    ]


# -- linear classifier


@pytest.fixture
def mixed():
    """Bank and queries of 5 classes that overlap, in 24 features of very different sizes; one feature is constant."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(260) % 5
    features = torch.randn(5, 24, generator=generator)[labels] + 1.6 * torch.randn(260, 24, generator=generator)
    features = features * torch.logspace(-3, 3, 24) + 100
    features[:, 7] = 4.0
    return features[:200], labels[:200], features[200:], labels[200:]


def test_linear_classifier_is_scikit_learns(mixed):
    bank, bank_labels, queries, labels = mixed
    mean, deviation = bank.double().mean(0), bank.double().std(0, correction=0)
    deviation[7] = 1
    ours = linear_scores(bank, bank_labels, queries).softmax(1)
    peer = LogisticRegression(C=1 / PENALTY, tol=1e-9, max_iter=5000).fit((bank - mean) / deviation, bank_labels)
    theirs = peer.predict_proba((queries - mean) / deviation)
    assert np.abs(ours.numpy() - theirs).max() < 2e-3
    right = (ours.argmax(1) == labels).float().mean()
    assert 0.5 < right < 0.95  # an answer that is neither chance nor certain


def test_linear_classifier_draws_nothing_and_reaches_no_backbone(mixed):
    bank, bank_labels, queries, _ = mixed
    torch.manual_seed(0)
    before = torch.get_rng_state()
    weights = nn.Linear(24, 24)
    drawn = torch.get_rng_state()
    scores = [linear_scores(weights(bank), bank_labels, weights(queries)) for _ in range(2)]
    assert torch.equal(*scores)
    assert weights.weight.grad is None and not scores[0].requires_grad
    assert torch.equal(torch.get_rng_state(), drawn) and not torch.equal(before, drawn)


def test_linear_classifier_learns_where_gradients_are_off(mixed):
    bank, bank_labels, queries, _ = mixed
    with torch.no_grad():
        off = linear_scores(bank, bank_labels, queries)
    assert torch.equal(off, linear_scores(bank, bank_labels, queries))


# -- effective rank


def test_rank_counts_directions_that_weigh_alike():
    assert rankme(torch.eye(8)) == pytest.approx(8, rel=1e-4)
    assert rankme(5 * torch.eye(8)[:, :3]) == pytest.approx(3, rel=1e-4)


def test_rank_of_one_direction_is_one():
    assert rankme(torch.arange(1.0, 7)[:, None] * torch.ones(6, 4)) == pytest.approx(1, abs=1e-3)


def test_rank_is_the_entropys_exponential():
    # Shares 3/4 and 1/4: exp(3/4 log 4/3 + 1/4 log 4).
    expected = math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    assert rankme(torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(50, 7), (7, 50)])
def test_rank_is_that_of_the_singular_values(shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 1
    values = np.linalg.svd(features.double().numpy(), compute_uv=False)
    shares = values / values.sum()
    assert rankme(features) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-4)


# -- a training that has diverged: the loop says so after these have looked


def test_features_that_are_no_numbers_do_not_fail():
    bank, labels = torch.full((20, 4), torch.nan), torch.arange(20) % 2
    assert linear_scores(bank, labels, bank).shape == (20, 2)
    assert math.isnan(rankme(bank))


def test_features_of_nothing_have_a_rank():
    assert rankme(torch.zeros(5, 3)) == pytest.approx(1, abs=1e-3)
