import numpy as np
import pytest

from hw1.statistics.neighbours import neighbour_agreement

LINE = np.array([[0.0, 0], [1, 0], [10, 0], [11, 0]])


def test_neighbours_of_the_same_label_agree_fully():
    assert neighbour_agreement(LINE, np.array([0, 0, 1, 1]), neighbours=1)[0] == 1.0


def test_neighbours_of_other_labels_do_not_agree():
    assert neighbour_agreement(LINE, np.array([0, 1, 0, 1]), neighbours=1)[0] == 0.0


def test_chance_counts_the_other_points_of_the_label():
    # each point has 1 of 3 others with its label
    assert neighbour_agreement(LINE, np.array([0, 0, 1, 1]))[1] == pytest.approx(1 / 3)


def test_with_few_points_all_others_are_neighbours():
    assert neighbour_agreement(LINE, np.array([0, 0, 1, 1]), neighbours=10)[0] == pytest.approx(1 / 3)


def test_labels_dealt_at_random_agree_as_by_chance():
    rng = np.random.default_rng(0)
    measured, chance = neighbour_agreement(rng.normal(size=(1000, 2)), rng.integers(0, 5, 1000))
    assert measured == pytest.approx(chance, abs=0.02)
