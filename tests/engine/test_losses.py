"""Losses by hand, and against PyTorch's."""

import math

import pytest
import torch
from torch import nn

from hw1.data.classes import UNKNOWN
from hw1.engine.metrics import correct, cross_entropy
from hw1.run.parameters.params import Segmenter
from hw1.segment.segmentation import focal_loss, segment_loss


def maps(seed=0):
    """Logits (2, 7, 4, 5) and masks (2, 4, 5) uint8 in which every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    masks = (torch.arange(40) % 7).view(2, 4, 5).to(torch.uint8)
    return torch.randn(2, 7, 4, 5, generator=generator), masks


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
    logits.requires_grad_()
    focal(logits, masks).backward()
    assert torch.equal(logits.grad.abs().sum(1) > 0, masks != UNKNOWN)


def test_tile_of_ignored_pixels_has_loss_zero_and_finite_gradients():
    logits, masks = maps()
    logits.requires_grad_()
    loss = focal(logits, torch.full_like(masks, UNKNOWN))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def section(loss):
    return Segmenter(
        epochs=1,
        batch_size=2,
        optimiser="sgd",
        momentum=0.9,
        weight_decay=0.0,
        schedule="constant",
        lr=1e-3,
        loss=loss,
        focal_alpha=0.5,
        focal_gamma=3.0,
        network="deeplabv3_resnet50",
        weights="none",
        width=1.0,
        horizontal_flip=0.0,
        vertical_flip=0.0,
        color_jitter=0.0,
    )


@pytest.mark.parametrize("name, alpha, gamma", [("cross_entropy", 1.0, 0.0), ("focal", 0.5, 3.0)])
def test_segment_loss_takes_the_sections_numbers_for_focal_only(name, alpha, gamma):
    logits, masks = maps()
    assert segment_loss(section(name))(logits, masks) == focal(logits, masks, alpha, gamma)
