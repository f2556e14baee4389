"""Optimisers and the course of the learning rate."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from hw1.run.parameters.params import Training


def build_optimiser(training: Training, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Adam or SGD over the parameters that take gradients; the loop sets the learning rate of each step."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    momentum, decay = training.momentum, training.weight_decay
    if training.optimiser == "adam":
        return torch.optim.Adam(trained, betas=(momentum, 0.999), weight_decay=decay, fused=True)
    return torch.optim.SGD(trained, lr=0.0, momentum=momentum, weight_decay=decay, fused=True)


def learning_rate(training: Training, peak: float, step: int, steps: int) -> float:
    """Rate of step ``step`` of ``steps``: ``constant``, ``cosine`` from ``peak`` down to 0, or ``exponential``, in each
    epoch ``gamma`` times the last one's.
    """
    if training.schedule == "cosine":
        return peak * (1 + math.cos(math.pi * step / steps)) / 2
    if training.schedule == "exponential":
        return peak * training.gamma ** (step * training.epochs // steps)
    return peak
