"""Nearest neighbours' votes, worked by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from hw1.byol.probes import TEMPERATURE, Probe, vote
from hw1.images.batches import Batches
from hw1.images.machine import Machine

CPU = Machine(torch.device("cpu"), None, 0.5)


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


def test_probe_scores_a_backbone_in_eval_mode():
    colours = np.zeros((6, 4, 4, 3), np.uint8)
    colours[range(6), ..., [0, 1, 2, 0, 1, 2]] = 200
    labels = np.array([0, 1, 2, 0, 1, 0])  # the last one is said wrongly
    bank, queries = (Batches(colours[part], labels[part], 2, CPU) for part in (slice(3), slice(3, 6)))
    backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.99)).train()
    assert Probe(bank, queries).accuracy(backbone, 1, CPU) == pytest.approx(2 / 3)
