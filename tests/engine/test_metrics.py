"""Counts, scores and losses by hand, and against scikit-learn's and PyTorch's."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score
from torch import nn
from trainings import segmenter

from hw1.data.classes import UNKNOWN
from hw1.engine.metrics import accuracy, correct, count_confusion, cross_entropy, iou, majority_confusion, mean_iou
from hw1.segment.segmentation import focal_loss, segment_loss


def counts(truth, prediction, classes=7):
    return count_confusion(torch.tensor(truth), torch.tensor(prediction), classes)


def random_maps(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 7, (3, 11, 13), generator=generator, dtype=torch.uint8) for _ in range(2)]


# -- counts and scores


def test_confusion_has_truth_in_rows_and_prediction_in_columns():
    assert counts([0, 0, 1, 2, 2], [0, 1, 1, 2, 0], classes=3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_confusion_and_iou_of_uint8_maps_are_scikit_learns():
    truth, prediction = random_maps(0)
    ours = count_confusion(truth, prediction, 7)
    assert np.array_equal(ours, confusion_matrix(truth.flatten(), prediction.flatten(), labels=range(7)))
    assert ours.dtype == torch.int64
    reference = jaccard_score(truth.flatten(), prediction.flatten(), labels=range(6), average=None)
    assert iou(ours) == pytest.approx(reference.tolist())


def test_accuracy_is_the_share_on_the_diagonal():
    assert accuracy(counts([0, 1, 1, 0], [0, 1, 0, 0], classes=2)) == 0.75


@pytest.mark.parametrize(
    "truth, prediction, first",
    [
        # Class 0: 2 hits of 3 in the truth and 3 predicted, 4 in either. Class 1: 1 hit of 2 and 2, 3 in either.
        ([0, 0, 0, 1, 1], [0, 0, 1, 1, 0], [2 / 4, 1 / 3]),
        ([0, 0, UNKNOWN, UNKNOWN], [0, 0, 0, UNKNOWN], [2 / 3]),
        ([0, 0, 0, 0], [0, UNKNOWN, UNKNOWN, UNKNOWN], [0.25]),
        ([0, 1], [0, 2], [1, 0, 0, None, None, None]),
        ([UNKNOWN], [UNKNOWN], [None] * 6),
    ],
    ids=["by hand", "predicted on unknown", "unknown predicted", "absent classes", "unknown alone"],
)
def test_iou_of_the_six_classes_by_hand(truth, prediction, first):
    values = iou(counts(truth, prediction))
    assert len(values) == 6
    assert values[: len(first)] == [share if share is None else pytest.approx(share) for share in first]


@pytest.mark.parametrize(
    "truth, prediction, mean",
    [
        # Class 0 has 1, class 1 none of its own 1 and class 2 none of its 1: the other three are absent.
        ([0, 1], [0, 2], 1 / 3),
        ([UNKNOWN], [UNKNOWN], 0),
    ],
)
def test_mean_iou_is_over_the_defined_classes(truth, prediction, mean):
    assert mean_iou(counts(truth, prediction)) == pytest.approx(mean)


def test_mean_iou_is_over_the_set_and_not_over_images():
    # Image 1 is wrong in its only pixel (0 for 1), image 2 right in nine of class 1. Over the set class 1 has
    # 9 of 10 and class 0 nothing of 1: mean 0.45; the mean over images would be (0 + 1) / 2.
    first, second = counts([1], [0]), counts([1] * 9, [1] * 9)
    assert mean_iou(first + second) == pytest.approx(0.45)


@pytest.mark.parametrize(
    "truth, common, mean",
    [
        # 3 of 6 pixels are class 2: IoU 3/6; classes 0 and 1 have 0, the rest is absent.
        ([0, 2, 2, 2, 1, UNKNOWN], 2, 0.5 / 3),
        ([1, UNKNOWN, UNKNOWN, UNKNOWN], 1, 0.25),
    ],
)
def test_majority_predicts_the_commonest_known_class_everywhere(truth, common, mean):
    majority = majority_confusion(counts(truth, [5] * len(truth)))
    assert torch.equal(majority, counts(truth, [common] * len(truth)))
    assert mean_iou(majority) == pytest.approx(mean)


# -- losses


def maps():
    """Logits (2, 7, 4, 5) that take gradients, and masks (2, 4, 5) uint8 in which every class occurs."""
    masks = (torch.arange(40) % 7).view(2, 4, 5).to(torch.uint8)
    return torch.randn(2, 7, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_(), masks


def focal(logits, masks, alpha=0.25, gamma=2.0):
    return focal_loss(logits, masks, alpha=alpha, gamma=gamma, ignore=UNKNOWN)


def test_cross_entropy_by_hand():
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])  # p of the label: 3/4, 1/2
    loss = cross_entropy(logits, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_cross_entropy_of_bf16_logits_is_computed_in_float32():
    logits = torch.tensor([[100.0, 0.0]], dtype=torch.bfloat16)
    assert cross_entropy(logits, torch.tensor([1])).dtype == torch.float32


def test_correct_is_the_share_of_rows_whose_largest_logit_is_the_label():
    logits = torch.tensor([[1.0, 2.0, 0.0], [5.0, 2.0, 0.0], [0.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    assert correct(logits, torch.tensor([1, 0, 2, 2])).item() == 0.75


def test_focal_loss_by_hand():
    # One pixel with p = 1/4 of its class, one with p = 1/2, one ignored: 0.25 times the mean of
    # (3/4)^2 log 4 and (1/2)^2 log 2.
    logits = torch.zeros(1, 7, 1, 3)
    logits[0, :, 0, 0] = torch.tensor([2.0, 6, 0, 0, 0, 0, 0]).clamp(min=1e-30).log()
    logits[0, :, 0, 1] = torch.tensor([1.0, 1, 0, 0, 0, 0, 0]).clamp(min=1e-30).log()
    masks = torch.tensor([[[0, 1, UNKNOWN]]], dtype=torch.uint8)
    expected = 0.25 * (9 / 16 * math.log(4) + 1 / 4 * math.log(2)) / 2
    assert focal(logits, masks).item() == pytest.approx(expected)


def test_focal_loss_without_focus_is_cross_entropy_that_ignores_unknown():
    logits, masks = maps()
    reference = nn.functional.cross_entropy(logits, masks.long(), ignore_index=UNKNOWN)
    assert focal(logits, masks, alpha=1.0, gamma=0.0).item() == pytest.approx(reference.item())


def test_ignored_pixels_get_no_gradient_and_all_others_do():
    logits, masks = maps()
    loss = focal(logits, torch.full_like(masks, UNKNOWN))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()  # where all are ignored too
    focal(logits, masks).backward()
    assert torch.equal(logits.grad.abs().sum(1) > 0, masks != UNKNOWN)


@pytest.mark.parametrize("name, alpha, gamma", [("cross_entropy", 1.0, 0.0), ("focal", 0.5, 3.0)])
def test_segment_loss_takes_the_sections_numbers_for_focal_only(name, alpha, gamma):
    logits, masks = maps()
    loss_of = segment_loss(segmenter(loss=name, focal_alpha=0.5, focal_gamma=3.0))
    assert loss_of(logits, masks) == focal(logits, masks, alpha, gamma)
