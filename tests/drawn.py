"""Noise that a seed draws, and how often what is drawn came out."""

import math

import torch


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(seed))


def assert_share(hits, probability):
    """``hits``, a boolean tensor, is true as often as declared."""
    deviation = math.sqrt(probability * (1 - probability) / hits.numel())
    assert abs(hits.double().mean().item() - probability) < 5 * deviation
