"""Counts and scores by hand, and against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score

from hw1.engine.metrics import accuracy, count_confusion, iou, majority_confusion, mean_iou

UNKNOWN = 6


def counts(truth, prediction, classes=7):
    return count_confusion(torch.tensor(truth), torch.tensor(prediction), classes)


def random_maps(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 7, (3, 11, 13), generator=generator, dtype=torch.uint8) for _ in range(2)]


# -- counts


def test_confusion_has_truth_in_rows_and_prediction_in_columns():
    assert counts([0, 0, 1, 2, 2], [0, 1, 1, 2, 0], classes=3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_confusion_of_uint8_maps_equals_scikit_learns():
    truth, prediction = random_maps(0)
    ours = count_confusion(truth, prediction, 7)
    assert np.array_equal(ours, confusion_matrix(truth.flatten(), prediction.flatten(), labels=range(7)))
    assert ours.dtype == torch.int64


# -- accuracy


def test_accuracy_is_the_share_on_the_diagonal():
    assert accuracy(counts([0, 1, 1, 0], [0, 1, 0, 0], classes=2)) == 0.75


# -- IoU


def test_iou_by_hand():
    # Class 0: 2 hits of 3 in the truth and 3 predicted, 4 in either. Class 1: 1 hit of 2 and 2, 3 in either.
    values = iou(counts([0, 0, 0, 1, 1], [0, 0, 1, 1, 0]))
    assert values[:2] == [pytest.approx(2 / 4), pytest.approx(1 / 3)]


def test_iou_counts_a_class_predicted_on_unknown_pixels_as_false_positive():
    values = iou(counts([0, 0, UNKNOWN, UNKNOWN], [0, 0, 0, UNKNOWN]))
    assert values[0] == pytest.approx(2 / 3)


def test_iou_counts_unknown_predicted_on_a_class_as_a_miss():
    assert iou(counts([0, 0, 0, 0], [0, UNKNOWN, UNKNOWN, UNKNOWN]))[0] == 0.25


def test_iou_leaves_unknown_out():
    assert len(iou(counts([UNKNOWN], [UNKNOWN]))) == 6


def test_iou_of_a_class_neither_true_nor_predicted_is_none():
    assert iou(counts([0, 1], [0, 2])) == [1, 0, 0, None, None, None]


def test_iou_of_the_six_classes_equals_scikit_learns():
    truth, prediction = random_maps(1)
    reference = jaccard_score(truth.flatten(), prediction.flatten(), labels=range(6), average=None)
    assert iou(count_confusion(truth, prediction, 7)) == pytest.approx(reference.tolist())


def test_mean_iou_is_over_the_defined_classes():
    # Class 0 has 1, class 1 none of its own 1 and class 2 none of its 1: the other three are absent.
    assert mean_iou(counts([0, 1], [0, 2])) == pytest.approx(1 / 3)


def test_mean_iou_without_any_class_is_zero():
    assert mean_iou(counts([UNKNOWN], [UNKNOWN])) == 0


def test_mean_iou_is_over_the_set_and_not_over_images():
    # Image 1 is wrong in its only pixel (0 for 1), image 2 right in nine of class 1. Over the set class 1 has
    # 9 of 10 and class 0 nothing of 1: mean 0.45; the mean over images would be (0 + 1) / 2.
    first, second = counts([1], [0]), counts([1] * 9, [1] * 9)
    assert mean_iou(first + second) == pytest.approx(0.45)


# -- the majority class


def test_majority_predicts_the_commonest_class_everywhere():
    truth = [0, 2, 2, 2, 1, UNKNOWN]
    assert torch.equal(majority_confusion(counts(truth, [5] * 6)), counts(truth, [2] * 6))


def test_majority_is_never_unknown():
    truth = [1, UNKNOWN, UNKNOWN, UNKNOWN]
    assert torch.equal(majority_confusion(counts(truth, truth)), counts(truth, [1] * 4))


def test_majority_mean_iou_by_hand():
    # 3 of 6 pixels are class 2: IoU 3/6; classes 0 and 1 have 0, the rest is absent.
    assert mean_iou(majority_confusion(counts([0, 2, 2, 2, 1, UNKNOWN], [0] * 6))) == pytest.approx(0.5 / 3)
