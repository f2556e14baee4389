"""Learning rates by hand, and what the optimisers hold."""

import math

import pytest
import torch
from torch import nn
from trainings import supervised

from hw1.engine.step import build_optimiser, learning_rate

HALF = math.sqrt(0.5)


def step(optimiser, parameter, gradient):
    for group in optimiser.param_groups:
        group["lr"] = 0.1
    parameter.grad = torch.tensor(gradient)
    optimiser.step()


@pytest.mark.parametrize(
    "schedule, shares",
    [
        ("constant", {0: 1, 7: 1, 99: 1}),
        ("cosine", {0: 1, 25: (1 + HALF) / 2, 50: 0.5, 75: (1 - HALF) / 2, 100: 0}),
    ],
)
def test_rate_is_its_schedules_share_of_the_peak(schedule, shares):
    rates = {step: learning_rate(supervised(schedule=schedule, lr=0.4), step, 100) / 0.4 for step in shares}
    assert rates == pytest.approx(shares, abs=1e-12)


def test_exponential_rate_is_torchs_of_each_epoch():
    """ExponentialLR, told the end of each of four epochs of five steps."""
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, gamma=0.9)
    exponential = supervised(epochs=4, schedule="exponential", gamma=0.9, lr=0.4)
    for step in range(20):
        rate = optimiser.param_groups[0]["lr"]
        assert learning_rate(exponential, step, 20) == pytest.approx(rate, rel=1e-12)
        optimiser.step()
        if step % 5 == 4:
            schedule.step()


def test_sgd_adds_up_its_momentum_by_hand():
    weight = nn.Parameter(torch.tensor([1.0]))
    optimiser = build_optimiser(supervised(momentum=0.5), [weight])
    step(optimiser, weight, [2.0])  # velocity 2
    assert weight.item() == pytest.approx(1 - 0.1 * 2)
    step(optimiser, weight, [2.0])  # velocity 0.5 * 2 + 2
    assert weight.item() == pytest.approx(0.8 - 0.1 * 3)


def test_sgd_decays_weights_by_hand():
    weight = nn.Parameter(torch.tensor([4.0]))
    step(build_optimiser(supervised(weight_decay=0.25), [weight]), weight, [0.0])
    assert weight.item() == pytest.approx(4 - 0.1 * 0.25 * 4)


def test_adams_first_step_is_the_learning_rate_and_its_first_beta_the_momentum():
    weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    adam = build_optimiser(supervised(optimiser="adam", momentum=0.7, weight_decay=0.02), [weight])
    assert (adam.defaults["betas"], adam.defaults["weight_decay"]) == ((0.7, 0.999), 0.02)
    step(build_optimiser(supervised(optimiser="adam"), [weight]), weight, [250.0, -0.004])
    assert weight.tolist() == pytest.approx([0.9, 1.1], abs=1e-5)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_frozen_parameters_are_not_held(optimiser):
    frozen, trained = nn.Parameter(torch.zeros(2), requires_grad=False), nn.Parameter(torch.zeros(3))
    (group,) = build_optimiser(supervised(optimiser=optimiser), [frozen, trained]).param_groups
    assert [id(parameter) for parameter in group["params"]] == [id(trained)]
