"""Drawn objects: the classes of the parts, the outlines, and what a picture tells of its label."""

from itertools import combinations

import numpy as np
import pytest

from hw1.sources import objects


def test_parts_share_no_kind_at_their_largest_and_fewer_classes_are_the_first_of_more():
    parts = [objects.kinds(part, 20) for part in objects.PARTS]
    assert [len(set(part)) for part in parts] == [20, 20, 20]
    assert all(not set(one) & set(other) for one, other in combinations(parts, 2))
    assert [objects.kinds(part, 4) for part in objects.PARTS] == [part[:4] for part in parts]


@pytest.mark.parametrize("outline", objects.OUTLINES)
def test_outline_is_closed_positive_and_reaches_about_one(outline):
    theta = np.linspace(-np.pi, np.pi, 721)
    radius = objects.OUTLINES[outline](theta)
    assert radius.min() > 0.15
    assert 0.95 <= radius.max() <= 1.2
    assert radius[0] == pytest.approx(radius[-1])


def test_label_decides_shape_but_not_colour():
    """The mean picture of a class has its shape; the mean colours of two classes are alike."""
    labels, kinds = np.repeat([0, 1], 200), [objects.Kind("disc", "core"), objects.Kind("bar", "plain")]
    pictures = np.stack(list(objects.draw(labels, kinds, 24, np.random.default_rng(0)))).astype(float)
    disc, bar = (pictures[labels == label].mean((0, 3)) for label in (0, 1))
    assert bar[12, 12] > disc[12, 12] + 50  # the disc's dark core
    hues = [(picture - picture.mean()) for picture in (pictures[labels == label].mean((0, 1, 2)) for label in (0, 1))]
    assert np.abs(hues[0] - hues[1]).max() < 8


@pytest.mark.parametrize("size", [8, 33])
def test_pictures_come_in_the_asked_size_across_batches(size):
    labels = np.arange(objects.BATCH + 2) % 20
    pictures = list(objects.draw(labels, objects.kinds("mini", 20), size, np.random.default_rng(0)))
    assert len(pictures) == len(labels)
    assert all(picture.shape == (size, size, 3) and picture.dtype == np.uint8 for picture in pictures)
