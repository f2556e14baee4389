"""What a pre-training's features are worth: votes and ranks worked by hand, and that looking changes nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from trainings import CPU, byol_training, supervised

from hw1.byol import pretraining
from hw1.byol.byol import Byol
from hw1.byol.probes import PENALTY, TEMPERATURE, Features, Monitor, linear_scores, rankme, vote
from hw1.classify.classification import classifier_loss
from hw1.data.arrays import Manifest
from hw1.engine.loop import fit
from hw1.engine.recipe import Recipe, Run
from hw1.images.batches import Batches
from hw1.run.parameters.params import Probes
from hw1.run.tracking.tracking import Tracker

LABELS = np.arange(64) // 16  # of the pictures in conftest.py
WHOLE = {"knn_office": 1.0, "linear_office": 1.0, "knn_mini": 1.0}


# -- neighbours' votes


def at(*degrees):
    """Unit vectors at angles, times what must not matter."""
    angles = torch.tensor(degrees, dtype=torch.float32).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1) * torch.arange(1, len(degrees) + 1)[:, None]


@pytest.mark.parametrize(
    "bank, labels, queries, neighbours, votes",
    [
        ([0, 90, 180], [2, 0, 1], [10, 80, 170], 1, [2, 0, 1]),
        ([0, 20, 21], [0, 1, 1], [10], 3, [1]),
        ([0, 20, 21], [0, 1, 1], [9], 1, [0]),
        ([0, 60, 60, 60], [0, 1, 1, 1], [0], 4, [0]),
        ([0, 5], [1, 1], [180], 20, [1]),
    ],
    ids=["nearest whatever its length", "two outvote a nearer one", "nearest alone", "fading", "small bank"],
)
def test_neighbours_vote_by_their_angle(bank, labels, queries, neighbours, votes):
    assert 3 * math.exp(-0.5 / TEMPERATURE) < 1  # in "fading" three at 60 degrees weigh less than one at 0
    assert vote(at(*bank), torch.tensor(labels), at(*queries), neighbours).tolist() == votes


def test_many_queries_are_compared_in_parts():
    angles = [angle for angle in range(360) if angle not in (90, 270)] * 9
    votes = vote(at(0, 180), torch.tensor([0, 1]), at(*angles), 1)
    assert votes.tolist() == [int(90 < angle < 270) for angle in angles]


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


def test_linear_classifier_draws_nothing_reaches_no_backbone_and_learns_where_gradients_are_off(mixed):
    bank, bank_labels, queries, _ = mixed
    weights = nn.Linear(24, 24)
    drawn = torch.get_rng_state()
    scores = linear_scores(weights(bank), bank_labels, weights(queries))
    with torch.no_grad():
        assert torch.equal(linear_scores(weights(bank), bank_labels, weights(queries)), scores)
    assert weights.weight.grad is None and not scores.requires_grad
    assert torch.equal(torch.get_rng_state(), drawn)


# -- effective rank


@pytest.mark.parametrize(
    "features, rank",
    [
        (torch.eye(8), 8),
        (5 * torch.eye(8)[:, :3], 3),
        (torch.arange(1.0, 7)[:, None] * torch.ones(6, 4), 1),
        (torch.zeros(5, 3), 1),
    ],
    ids=["eight", "three", "one", "nothing"],
)
def test_rank_counts_directions_that_weigh_alike(features, rank):
    assert rankme(features) == pytest.approx(rank, abs=1e-3)


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


# -- the monitor


def store(part, images, labels, split="train"):
    part.mkdir(exist_ok=True)
    np.save(part / f"{split}_images.npy", images)
    np.save(part / f"{split}_labels.npy", labels)
    Manifest("synthetic", 16, 16, "bicubic", 4, [f"{i}.jpg" for i in range(len(images))], []).save(part)


@pytest.fixture
def parts(tmp_path, pictures):
    """Mini with labels and office, prepared."""
    mini, office = tmp_path / "mini", tmp_path / "office"
    for part, split in ((mini, "train"), (office, "train"), (office, "validation")):
        store(part, pictures, LABELS, split)
    return mini, office


class Corner(nn.Module):
    """Features that name the bright corner."""

    def forward(self, images):
        return nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 2).flatten(1)


def test_features_are_the_backbones_in_eval_mode():
    colours = np.zeros((6, 4, 4, 3), np.uint8)
    colours[range(6), ..., [0, 1, 2, 0, 1, 2]] = 200
    labels = np.array([0, 1, 2, 0, 1, 0])  # the last one is said wrongly
    halves = [Batches(colours[part], labels[part], 2, CPU) for part in (slice(3), slice(3, 6))]
    backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.99)).train()
    seen = Features.extract(backbone, halves, CPU)
    assert seen.knn_accuracy(1) == seen.linear_accuracy() == pytest.approx(2 / 3)
    assert seen.labels.tolist() == [0, 1, 0] and seen.bank.shape == seen.queries.shape == (3, 3)


def test_monitor_looks_at_office_and_at_mini(parts):
    monitor = Monitor(Corner(), *parts, Probes(neighbours=5, images=64), CPU)
    assert monitor() == monitor.start and WHOLE.items() <= monitor.start.items()
    assert monitor.columns == ("knn_office", "linear_office", "knn_mini", "rankme")


def start_of(mini, office, images):
    return Monitor(Corner(), mini, office, Probes(5, images), CPU).start


def test_rank_is_of_the_pretraining_images(parts):
    mini, office = parts
    assert 1.5 < start_of(mini, office, 64)["rankme"] < 4  # four corners, each brighter in turn
    np.save(mini / "train_images.npy", np.load(mini / "train_images.npy")[:1].repeat(64, 0))
    assert start_of(mini, office, 64)["rankme"] == pytest.approx(1, abs=1e-3)


def test_monitor_of_unlabelled_images_asks_for_no_label_of_theirs(parts):
    mini, office = parts
    labelled = start_of(mini, office, 64)
    Manifest("given archive", 16, 16, "bicubic", 0, [f"{i}.jpg" for i in range(64)], []).save(mini)
    (mini / "train_labels.npy").unlink()
    del labelled["knn_mini"]
    assert start_of(mini, office, 64) == labelled


def test_monitor_takes_no_more_of_mini_than_it_may(parts, monkeypatch):
    seen, original = [], Batches.__init__
    monkeypatch.setattr(Batches, "__init__", lambda *given: seen.append(len(given[1])) or original(*given))
    start_of(*parts, 10)
    assert seen == [64, 64, 8, 2]  # office's splits; four fifths of mini's ten, and a fifth


def test_three_images_are_enough_and_classes_in_turn_are_all_in_the_bank(parts, pictures):
    mini, office = parts
    store(mini, pictures[:3], LABELS[:3])
    assert start_of(mini, office, 10)["knn_mini"] == 1.0
    turn = np.argsort(np.arange(64) % 16, kind="stable")  # classes 0, 1, 2, 3, 0, 1, ...
    store(mini, pictures[turn].repeat(5, axis=0), LABELS[turn].repeat(5))
    assert start_of(mini, office, 320)["knn_mini"] == 1.0


def test_headline_has_the_last_epoch_beside_the_start(parts):
    monitor = Monitor(Corner(), *parts, Probes(5, 64), CPU)
    watched = {"linear_office": 0.6, "rankme": 7.0, "spread": 0.1, "collapsed": 1.0}
    rows = [
        {"knn_office": 0.1, "knn_mini": 0.2, "linear_office": 0.3, "rankme": 9.0, "spread": 0.9, "collapsed": 0.0},
        {"knn_office": 0.5, "knn_mini": 0.25, "loss": 0.1, **watched},
    ]
    start = {f"{name}_at_start": round(value, 6) for name, value in monitor.start.items()}
    assert monitor.headline(rows) == {"knn_office": 0.5, "knn_mini": 0.25, **watched, "collapsed_epochs": 1.0} | start
    now = monitor.headline([])
    assert now.pop("rankme") == start["rankme_at_start"] and now == WHOLE | start


# -- looking changes nothing


def backbone():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2))


def trained(method, pictures, parts, watched):
    """Every byte of the network after the training, and its rows without what the monitor adds."""
    generator, features = torch.Generator().manual_seed(0), backbone()
    if method == "byol":
        network, batches = Byol(features, 784, 32, 8), Batches(pictures, None, 16, CPU)
        recipe = pretraining.byol_training(network, batches, byol_training(batch_size=16), generator)
    else:
        network, batches = nn.Sequential(features, nn.Linear(784, 4)), Batches(pictures, LABELS, 16, CPU)
        training = supervised(batch_size=16)
        loss_of = classifier_loss(network, training, generator)
        recipe = Recipe(network, batches, loss_of, training, "pretrain.supervised")
    if watched:
        monitor = Monitor(features, *parts, Probes(5, 64), CPU)
        recipe = replace(recipe, validate=monitor)
    rows = fit(recipe, Run(CPU, generator, Tracker("x")))
    states = {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}
    return states, [{key: value for key, value in row.items() if key not in (*WHOLE, "rankme")} for row in rows], rows


@pytest.mark.parametrize("method", ["byol", "supervised"])
def test_a_watched_training_ends_in_the_same_bytes(method, pictures, parts):
    alone, rows, _ = trained(method, pictures, parts, watched=False)
    watched, same_rows, everything = trained(method, pictures, parts, watched=True)
    assert watched == alone and same_rows == rows
    assert all({*WHOLE, "rankme"} <= row.keys() for row in everything)
