"""What a pre-training's features are worth, epoch by epoch, and that looking changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hw1.byol.byol import Byol
from hw1.byol.pretraining import byol_training
from hw1.byol.probes import Features, Monitor
from hw1.classify.classification import classifier_loss
from hw1.data.arrays import Manifest
from hw1.engine.loop import fit
from hw1.engine.recipe import Recipe, Run
from hw1.images.batches import Batches
from hw1.images.machine import Machine
from hw1.run.parameters.params import ByolTraining, Probes, Supervised
from hw1.run.tracking.tracking import Tracker

CPU = Machine(torch.device("cpu"), None, 0.5)
LABELS = np.arange(64) // 16  # of the pictures in conftest.py
COMMON = {"epochs": 2, "batch_size": 16, "optimiser": "adam", "momentum": 0.9, "weight_decay": 0.0}
COMMON |= {"schedule": "constant", "lr": 0.01, "augmentation": "choice224"}
BYOL = ByolTraining(**COMMON, hidden=32, projection=8, ema=0.9, collapse_spread=0.1, on_collapse="warn")
SUPERVISED = Supervised(**COMMON)
WHOLE = {"knn_office": 1.0, "linear_office": 1.0, "knn_mini": 1.0}


@pytest.fixture
def parts(tmp_path, pictures):
    """Mini with labels and office, prepared."""
    for part, splits in (("mini", ["train"]), ("office", ["train", "validation"])):
        (tmp_path / part).mkdir()
        for split in splits:
            np.save(tmp_path / part / f"{split}_images.npy", pictures)
            np.save(tmp_path / part / f"{split}_labels.npy", LABELS)
        Manifest("synthetic", 16, 16, "bicubic", 4, [f"{i}.jpg" for i in range(64)], []).save(tmp_path / part)
    return tmp_path / "mini", tmp_path / "office"


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


def test_rank_is_of_the_pretraining_images(parts):
    mini, office = parts
    everything = Monitor(Corner(), mini, office, Probes(5, 64), CPU).start["rankme"]
    assert 1.5 < everything < 4  # four corners, each brighter in turn
    np.save(mini / "train_images.npy", np.load(mini / "train_images.npy")[:1].repeat(64, 0))
    assert Monitor(Corner(), mini, office, Probes(5, 64), CPU).start["rankme"] == pytest.approx(1, abs=1e-3)


def test_monitor_of_unlabelled_images_asks_for_no_label_of_theirs(parts):
    mini, office = parts
    labelled = Monitor(Corner(), mini, office, Probes(5, 64), CPU).start
    Manifest("given archive", 16, 16, "bicubic", 0, [f"{i}.jpg" for i in range(64)], []).save(mini)
    (mini / "train_labels.npy").unlink()
    assert Monitor(Corner(), mini, office, Probes(5, 64), CPU).start == {
        name: value for name, value in labelled.items() if name != "knn_mini"
    }


def test_monitor_takes_no_more_of_mini_than_it_may(parts, monkeypatch):
    seen = []
    original = Batches.__init__

    def note(self, images, *others):
        seen.append(len(images))
        original(self, images, *others)

    monkeypatch.setattr(Batches, "__init__", note)
    Monitor(Corner(), *parts, Probes(neighbours=5, images=10), CPU)
    assert seen == [64, 64, 8, 2]  # office's splits; four fifths of mini's ten, and a fifth


def test_three_images_are_enough(parts, pictures):
    mini, office = parts
    np.save(mini / "train_images.npy", pictures[:3])
    np.save(mini / "train_labels.npy", LABELS[:3])
    Manifest("synthetic", 16, 16, "bicubic", 4, [f"{i}.jpg" for i in range(3)], []).save(mini)
    assert Monitor(Corner(), mini, office, Probes(5, 10), CPU).start["knn_mini"] == 1.0


def test_classes_in_turn_are_all_in_the_bank(parts, pictures):
    mini, office = parts
    turn = np.argsort(np.arange(64) % 16, kind="stable")  # classes 0, 1, 2, 3, 0, 1, ...
    np.save(mini / "train_images.npy", pictures[turn].repeat(5, axis=0))
    np.save(mini / "train_labels.npy", LABELS[turn].repeat(5))
    Manifest("synthetic", 16, 16, "bicubic", 4, [f"{i}.jpg" for i in range(320)], []).save(mini)
    assert Monitor(Corner(), mini, office, Probes(5, 320), CPU).start["knn_mini"] == 1.0


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
        recipe = byol_training(network, batches, BYOL, generator)
    else:
        network, batches = nn.Sequential(features, nn.Linear(784, 4)), Batches(pictures, LABELS, 16, CPU)
        loss_of = classifier_loss(network, SUPERVISED, generator)
        recipe = Recipe(network, batches, loss_of, SUPERVISED, "pretrain.supervised")
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
