"""What watches over a pre-training for BYOL's collapse."""

import dataclasses

import pytest
import torch
from torch import nn
from trainings import CPU, byol_training

from hw1.byol import pretraining
from hw1.byol.byol import Byol
from hw1.byol.pretraining import COLUMNS, collapse_watch
from hw1.engine.loop import fit
from hw1.engine.recipe import Run
from hw1.images.batches import Batches
from hw1.run.errors import InputError
from hw1.run.tracking.tracking import Tracker

BYOL = byol_training(epochs=15, batch_size=16, optimiser="adam", collapse_spread=0.5)
# Strong weight decay pulls every projection to one point, from which the predictor foretells it perfectly.
COLLAPSING = dataclasses.replace(BYOL, optimiser="sgd", lr=0.1, weight_decay=1.0)


def backbone():
    torch.manual_seed(0)
    layers = [(nn.Conv2d(*sizes, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU()) for sizes in ((3, 16), (16, 16))]
    return nn.Sequential(*layers[0], *layers[1], nn.Flatten(), nn.Linear(144, 16))


def train(pictures, training):
    network, generator = Byol(backbone(), 16, training.hidden, training.projection), torch.Generator().manual_seed(0)
    batches = Batches(pictures, None, training.batch_size, CPU)
    return fit(pretraining.byol_training(network, batches, training, generator), Run(CPU, generator, Tracker("x")))


def test_collapse_is_told_from_learning_where_the_loss_cannot(pictures, capsys):
    learned, collapsed = train(pictures, BYOL), train(pictures, COLLAPSING)
    best = [min(row["loss"] for row in rows) for rows in (collapsed, learned)]
    assert best[0] < best[1] / 5  # by its loss the collapsed one is the better
    assert tuple(learned[0]) == COLUMNS
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
    assert watch({"epoch": 1, "projection_std": std}, []) == {"spread": pytest.approx(spread), "collapsed": collapsed}
