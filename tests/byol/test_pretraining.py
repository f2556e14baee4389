"""What watches over a pre-training: its features each epoch, and BYOL's collapse."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from hw1.byol.byol import Byol
from hw1.byol.pretraining import COLUMNS, byol_training, collapse_watch
from hw1.byol.probes import Monitor
from hw1.data.arrays import Manifest
from hw1.engine.loop import fit
from hw1.engine.recipe import Run
from hw1.images.batches import Batches
from hw1.images.machine import Machine
from hw1.run.errors import InputError
from hw1.run.params import ByolTraining, Knn
from hw1.run.tracking import Tracker

CPU = Machine(torch.device("cpu"), None, 0.5)
LABELS = np.arange(64) // 16
BYOL = ByolTraining(
    epochs=15,
    batch_size=16,
    optimiser="adam",
    momentum=0.9,
    weight_decay=0.0,
    schedule="constant",
    lr=0.01,
    augmentation="choice224",
    hidden=32,
    projection=8,
    ema=0.9,
    collapse_spread=0.5,
    on_collapse="warn",
)
# Strong weight decay pulls every projection to one point, from which the predictor foretells it perfectly.
COLLAPSING = dataclasses.replace(BYOL, optimiser="sgd", lr=0.1, weight_decay=1.0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def pictures():
    """Noise with a bright square in the corner that the label names."""
    images = np.random.default_rng(0).integers(0, 80, (64, 16, 16, 3), np.uint8)
    for image, label in zip(images, LABELS, strict=True):
        row, column = divmod(label, 2)
        image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 60
    return images


def backbone():
    torch.manual_seed(0)
    layers = [(nn.Conv2d(*sizes, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU()) for sizes in ((3, 16), (16, 16))]
    return nn.Sequential(*layers[0], *layers[1], nn.Flatten(), nn.Linear(144, 16))


def train(pictures, training):
    network, generator = Byol(backbone(), 16, training.hidden, training.projection), torch.Generator().manual_seed(0)
    batches = Batches(pictures, None, training.batch_size, CPU)
    return fit(byol_training(network, batches, training, generator), Run(CPU, generator, Tracker("x")))


# -- collapse


def test_collapse_is_told_from_learning_where_the_loss_cannot(pictures, capsys):
    learned, collapsed = train(pictures, BYOL), train(pictures, COLLAPSING)
    best = [min(row["loss"] for row in rows) for rows in (collapsed, learned)]
    assert best[0] < best[1] / 5  # by its loss the collapsed one is the better
    assert [row["collapsed"] for row in learned] == [0] * 15
    assert min(row["spread"] for row in learned) > 0.8
    assert collapsed[-1]["collapsed"] == 1 and collapsed[-1]["spread"] < 0.1
    told = capsys.readouterr().err
    assert told.count("warning: pretrain.byol: the projections collapsed: in epoch ") == 1
    assert "below collapse_spread (0.5)" in told


def test_collapse_stops_the_training_where_it_should(pictures):
    with pytest.raises(InputError, match=r"pretrain\.byol: the projections collapsed: in epoch \d+ .*lower pretrain"):
        train(pictures, dataclasses.replace(COLLAPSING, on_collapse="stop"))


@pytest.mark.parametrize("std, spread, collapsed", [(0.5, 1.0, 0), (0.25, 0.5, 0), (0.2499, 0.4998, 1), (0.0, 0.0, 1)])
def test_spread_is_the_share_of_even_projections(std, spread, collapsed):
    watch = collapse_watch(dataclasses.replace(BYOL, projection=4))
    assert watch({"epoch": 1, "projection_std": std}) == {"spread": pytest.approx(spread), "collapsed": collapsed}


def test_rows_have_the_historys_columns(pictures):
    assert tuple(train(pictures, dataclasses.replace(BYOL, epochs=1))[0]) == COLUMNS


# -- features


@pytest.fixture
def parts(tmp_path, pictures):
    """Mini with labels and office, prepared."""
    for part, splits in (("mini", ["train"]), ("office", ["train", "validation"])):
        (tmp_path / part).mkdir()
        for split in splits:
            np.save(tmp_path / part / f"{split}_images.npy", pictures)
            np.save(tmp_path / part / f"{split}_labels.npy", LABELS)
        Manifest("synthetic", 16, 16, 4, [f"{i}.jpg" for i in range(64)], []).save(tmp_path / part)
    return tmp_path / "mini", tmp_path / "office"


class Corner(nn.Module):
    """Features that name the bright corner."""

    def forward(self, images):
        return nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 2).flatten(1)


def test_monitor_looks_at_office_and_at_mini(parts):
    monitor = Monitor(Corner(), *parts, Knn(neighbours=5, images=64), CPU)
    assert monitor() == monitor.start == {"knn_office": 1.0, "knn_mini": 1.0}
    assert monitor.columns == ("knn_office", "knn_mini")


def test_monitor_of_unlabelled_images_looks_at_office_alone(parts):
    mini, office = parts
    Manifest("given archive", 16, 16, 0, [f"{i}.jpg" for i in range(64)], []).save(mini)
    assert Monitor(Corner(), mini, office, Knn(5, 64), CPU).columns == ("knn_office",)


def test_monitor_takes_no_more_of_mini_than_it_may(parts, monkeypatch):
    seen = []
    original = Batches.__init__

    def note(self, images, *others):
        seen.append(len(images))
        original(self, images, *others)

    monkeypatch.setattr(Batches, "__init__", note)
    Monitor(Corner(), *parts, Knn(neighbours=5, images=10), CPU)
    assert seen == [64, 64, 8, 2]  # office's splits; four fifths of mini's ten, and a fifth


def test_classes_in_turn_are_all_in_the_bank(parts, pictures):
    mini, office = parts
    turn = np.argsort(np.arange(64) % 16, kind="stable")  # classes 0, 1, 2, 3, 0, 1, ...
    np.save(mini / "train_images.npy", pictures[turn].repeat(5, axis=0))
    np.save(mini / "train_labels.npy", LABELS[turn].repeat(5))
    Manifest("synthetic", 16, 16, 4, [f"{i}.jpg" for i in range(320)], []).save(mini)
    assert Monitor(Corner(), mini, office, Knn(5, 320), CPU).start["knn_mini"] == 1.0


def test_headline_has_the_last_epoch_beside_the_start(parts):
    monitor = Monitor(Corner(), *parts, Knn(5, 64), CPU)
    rows = [
        {"knn_office": 0.1, "knn_mini": 0.2, "spread": 0.9, "collapsed": 0.0, "loss": 3.0},
        {"knn_office": 0.5, "knn_mini": 0.25, "spread": 0.1, "collapsed": 1.0, "loss": 0.1},
    ]
    start = {"knn_office_at_start": 1.0, "knn_mini_at_start": 1.0}
    last = {"knn_office": 0.5, "knn_mini": 0.25, "spread": 0.1, "collapsed": 1.0, "collapsed_epochs": 1.0}
    assert monitor.headline(rows) == last | start
    assert monitor.headline([]) == {"knn_office": 1.0, "knn_mini": 1.0} | start
