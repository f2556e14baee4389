"""How sure a classifier is: bins, error and mistakes by hand, and the answers of a network."""

import numpy as np
import pytest
import torch
from torch import nn
from trainings import CPU

from hw1.engine.validation import Classified, classify
from hw1.evaluate.problems import calibration_error, entries, mistakes, reliability
from hw1.images.batches import Batches
from hw1.images.input import AS_STORED, normalise

SEEN = Classified(
    loss=1.0,
    labels=torch.tensor([0, 1, 2, 0, 1]),
    predictions=torch.tensor([0, 0, 2, 1, 2]),
    confidences=torch.tensor([0.99, 0.99, 0.5, 0.34, 0.99]),
)


def test_bins_have_their_images_mean_confidence_and_share_right():
    assert np.allclose(reliability(SEEN), [[1, 0.34, 0], [1, 0.5, 1], [3, 0.99, 1 / 3]])


def test_error_is_the_mean_distance_over_images():
    assert calibration_error(reliability(SEEN)) == pytest.approx((0.34 + 0.5 + 3 * (0.99 - 1 / 3)) / 5)
    assert calibration_error([[4, 0.75, 0.75]]) == 0


def test_full_confidence_is_in_the_last_bin():
    sure = Classified(0.1, torch.tensor([1]), torch.tensor([1]), torch.tensor([1.0]))
    assert reliability(sure) == [[1, 1.0, 1.0]]


def test_surest_mistakes_come_first_and_of_equals_the_first():
    assert mistakes(SEEN, 2) == [1, 4] and mistakes(SEEN, 10) == [1, 4, 3]
    expected = {"image": "d", "label": 0, "prediction": 1, "confidence": 0.34}
    assert entries(SEEN, "abcde", [3]) == [expected]


def test_confidence_is_the_softmax_of_the_networks_classes():
    """The head has an output more than there are classes, which is never a label and has no share."""
    images = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    stored, labels = images.permute(0, 2, 3, 1).contiguous().numpy(), np.arange(5) % 3
    torch.manual_seed(2)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    seen = classify(network, Batches(stored, labels, 2, CPU), CPU, 3, AS_STORED)
    with torch.no_grad():
        shares = network(normalise(images))[:, :3].softmax(1)
    assert seen.labels.tolist() == labels.tolist() and torch.equal(seen.predictions, shares.argmax(1))
    assert torch.allclose(seen.confidences, shares.max(1).values, atol=1e-6)
    assert seen.confusion(3).sum() == 5
