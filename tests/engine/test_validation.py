"""Validation with a network whose logits are known: the stored red level names the class."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from trainings import CPU

from hw1.engine import validation
from hw1.engine.validation import class_map, classify, extract_features, segment, tile_scores
from hw1.images.batches import Batches
from hw1.images.input import normalise
from hw1.segment.segmentation import focal_loss

SURE = 5.0  # logit of the class that is predicted, the others have 0
UNKNOWN = 6


class RedIsTheClass(nn.Module):
    """Logits of a pixel: SURE for the class that its stored red value names."""

    def __init__(self, outputs, per_pixel=False):
        super().__init__()
        self.outputs, self.per_pixel = outputs, per_pixel

    def forward(self, images):
        assert not self.training
        assert not torch.is_grad_enabled()
        level = (255 * (images[:, 0] * 0.229 + 0.485)).round().long()  # undoes the ImageNet normalisation, (N, H, W)
        logits = SURE * nn.functional.one_hot(level, self.outputs).movedim(-1, 1).float()
        return logits if self.per_pixel else logits[..., 0, 0]

    def features(self, images):
        return images.flatten(1)


def pictures(reds, size=4):
    array = np.zeros((len(reds), size, size, 3), np.uint8)
    array[..., 0] = np.array(reds).reshape(-1, 1, 1)
    return array


def loss_of_one(hit, outputs):
    return math.log(math.exp(SURE) + outputs - 1) - (SURE if hit else 0)


# -- classification


def test_classify_counts_and_averages_over_the_images_of_unequal_batches():
    labels = np.array([0, 1, 1, 2, 2])
    batches = Batches(pictures([0, 1, 0, 2, 2]), labels, 3, CPU)
    seen = classify(RedIsTheClass(3).train(), batches, CPU, 3)
    assert (seen.labels.tolist(), seen.predictions.tolist()) == ([0, 1, 1, 2, 2], [0, 1, 0, 2, 2])
    assert seen.confusion(3).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 2]]
    assert seen.loss == pytest.approx((4 * loss_of_one(True, 3) + loss_of_one(False, 3)) / 5)


def test_outputs_past_the_classes_are_never_a_label():
    seen = classify(RedIsTheClass(9), Batches(pictures([1, 7]), np.array([1, 1]), 2, CPU), CPU, 2)
    assert seen.predictions.tolist() == [1, 0]  # of class 0 and 1 alike, the first
    assert seen.confusion(2).tolist() == [[0, 0], [1, 1]]


def test_classify_shows_the_network_its_input_of_the_images():
    batches = Batches(pictures([0, 1]), np.array([1, 2]), 2, CPU)
    seen = classify(RedIsTheClass(3), batches, CPU, 3, lambda images: normalise(images + 1))
    assert seen.predictions.tolist() == [1, 2]


def test_features_are_rows_of_float32_in_stored_order():
    network, batches = RedIsTheClass(3), Batches(pictures([3, 1, 2], 1), np.array([5, 6, 7]), 2, CPU)
    rows, labels = extract_features(network, network.features, batches, CPU)
    assert (rows.shape, rows.dtype, labels.tolist()) == ((3, 3), torch.float32, [5, 6, 7])
    assert (255 * (rows[:, 0] * 0.229 + 0.485)).round().tolist() == [3, 1, 2]


# -- segmentation


def pixel_loss(logits, masks):
    return focal_loss(logits, masks, alpha=1.0, gamma=0.0, ignore=UNKNOWN)


def test_tile_scores_are_enlarged_bilinearly_each_to_its_masks_size():
    tiles, shapes = pictures([0, 1], size=2), [(2, 4), (3, 5)]
    tiles[0, :, 1, 0] = 3  # the right half is class 3
    first, second = tile_scores(RedIsTheClass(7, per_pixel=True), Batches(tiles, None, 2, CPU), shapes, CPU)
    assert first[3].tolist() == [pytest.approx([0, SURE / 4, 3 * SURE / 4, SURE])] * 2
    assert second.shape == (7, 3, 5) and second.argmax(0).unique().tolist() == [1]


@pytest.mark.parametrize("shape", [(8, 8), (37, 53), (64, 20), (5, 90)])
def test_class_map_made_in_strips_is_the_whole_one(shape, monkeypatch):
    scores = torch.randn(7, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = class_map(scores, shape)
    monkeypatch.setattr(validation, "STRIP", 100)
    strips = class_map(scores, shape)
    assert whole.dtype == strips.dtype == torch.uint8 and whole.shape == strips.shape == shape
    assert (whole == strips).float().mean() > 0.999  # rounding may tip a pixel


def test_segment_counts_every_pixel_of_masks_of_different_sizes():
    masks = [np.array([[0, 0, 1, UNKNOWN]] * 4, np.uint8), np.full((6, 3), 2, np.uint8)]
    batches = Batches(pictures([0, 2]), None, 2, CPU)
    loss, confusions = segment(RedIsTheClass(7, per_pixel=True), batches, masks, CPU, pixel_loss)
    expected = torch.zeros(2, 7, 7, dtype=torch.int64)
    expected[0, 0, 0], expected[0, 1, 0], expected[0, UNKNOWN, 0], expected[1, 2, 2] = 8, 4, 4, 18
    assert torch.equal(confusions, expected)
    # Unknown is left out of the loss; every tile weighs the same, whatever its size.
    first = (2 * loss_of_one(True, 7) + loss_of_one(False, 7)) / 3
    assert loss == pytest.approx((first + loss_of_one(True, 7)) / 2, rel=1e-5)
