"""Learning rates by hand, and what the optimisers hold."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from hw1.engine.step import build_optimiser, learning_rate
from hw1.run.parameters.params import Supervised


def training(optimiser, momentum=0.9, weight_decay=0.0):
    return Supervised(
        epochs=1,
        batch_size=2,
        optimiser=optimiser,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule="constant",
        lr=0.4,
        augmentation="none",
    )


def step(optimiser, parameter, gradient, rate=0.1):
    for group in optimiser.param_groups:
        group["lr"] = rate
    parameter.grad = torch.tensor(gradient)
    optimiser.step()


@pytest.mark.parametrize("step", [0, 7, 99])
def test_constant_rate_is_the_peak_at_every_step(step):
    assert learning_rate(training("adam"), step, 100) == 0.4


@pytest.mark.parametrize(
    "step, share", [(0, 1), (25, (1 + math.sqrt(0.5)) / 2), (50, 0.5), (75, (1 - math.sqrt(0.5)) / 2), (100, 0)]
)
def test_cosine_rate_falls_from_the_peak_to_zero(step, share):
    cosine = dataclasses.replace(training("adam"), schedule="cosine")
    assert learning_rate(cosine, step, 100) == pytest.approx(0.4 * share, abs=1e-12)


def test_exponential_rate_is_torchs_of_each_epoch():
    """ExponentialLR, told the end of each of four epochs of five steps."""
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=0.4)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, gamma=0.9)
    exponential = dataclasses.replace(training("sgd"), epochs=4, schedule="exponential", gamma=0.9)
    for step in range(20):
        rate = optimiser.param_groups[0]["lr"]
        assert learning_rate(exponential, step, 20) == pytest.approx(rate, rel=1e-12)
        optimiser.step()
        if step % 5 == 4:
            schedule.step()


def test_sgd_adds_up_its_momentum_by_hand():
    weight = nn.Parameter(torch.tensor([1.0]))
    optimiser = build_optimiser(training("sgd", momentum=0.5), [weight])
    step(optimiser, weight, [2.0])  # velocity 2
    assert weight.item() == pytest.approx(1 - 0.1 * 2)
    step(optimiser, weight, [2.0])  # velocity 0.5 * 2 + 2
    assert weight.item() == pytest.approx(0.8 - 0.1 * 3)


def test_sgd_decays_weights_by_hand():
    weight = nn.Parameter(torch.tensor([4.0]))
    step(build_optimiser(training("sgd", weight_decay=0.25), [weight]), weight, [0.0])
    assert weight.item() == pytest.approx(4 - 0.1 * 0.25 * 4)


def test_adams_first_step_is_the_learning_rate_whatever_the_gradient():
    weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    step(build_optimiser(training("adam"), [weight]), weight, [250.0, -0.004])
    assert weight.tolist() == pytest.approx([0.9, 1.1], abs=1e-5)


def test_adam_takes_its_first_beta_from_momentum():
    adam = build_optimiser(training("adam", momentum=0.7, weight_decay=0.02), [nn.Parameter(torch.zeros(1))])
    assert (adam.defaults["betas"], adam.defaults["weight_decay"]) == ((0.7, 0.999), 0.02)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_frozen_parameters_are_not_held(optimiser):
    frozen, trained = nn.Parameter(torch.zeros(2), requires_grad=False), nn.Parameter(torch.zeros(3))
    (group,) = build_optimiser(training(optimiser), [frozen, trained]).param_groups
    assert [id(parameter) for parameter in group["params"]] == [id(trained)]
