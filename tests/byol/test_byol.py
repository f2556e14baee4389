"""BYOL: its loss by hand, and what moves the target."""

import copy
import math

import pytest
import torch
from torch import nn

from hw1.byol.byol import Byol, ViewBatchNorm, byol_loss, ema_decay, projection_std


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def network():
    """BYOL around a backbone of one convolution with BatchNorm."""
    backbone = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Byol(backbone, width=6, hidden=16, projection=8)


def views(count=5):
    """Two views of as many images, (2 * count, 3, 8, 8)."""
    return torch.cat([torch.randn(count, 3, 8, 8), torch.randn(count, 3, 8, 8) + 1])


def in_two_passes(network):
    """A copy with torch's own BatchNorm, which must see one view at a time."""
    reference = copy.deepcopy(network)
    for module in reference.modules():
        if isinstance(module, ViewBatchNorm):
            module.__class__ = nn.BatchNorm1d if module.num_features == 16 else nn.BatchNorm2d
    return reference


def online(network):
    return [*network.backbone.parameters(), *network.projector.parameters()]


# -- the loss


@pytest.mark.parametrize(
    "prediction, target, loss",
    [
        ([3.0, 4.0], [3.0, 4.0], 0),
        ([3.0, 4.0], [6.0, 8.0], 0),
        ([1.0, 0.0], [0.0, 5.0], 2),
        ([1.0, 2.0], [-1.0, -2.0], 4),
        ([1.0, 0.0], [1.0, 1.0], 2 - math.sqrt(2)),
    ],
    ids=["same", "scaled", "orthogonal", "opposite", "45 degrees"],
)
def test_loss_of_a_row_by_hand(prediction, target, loss):
    result = byol_loss(torch.tensor([prediction]), torch.tensor([target]))
    assert result.tolist() == [pytest.approx(loss, abs=1e-6)]


def test_loss_is_the_squared_distance_of_the_unit_vectors():
    q, z = torch.randn(6, 9), torch.randn(6, 9)
    squared = (nn.functional.normalize(q) - nn.functional.normalize(z)).square().sum(1)  # (6,)
    assert torch.allclose(byol_loss(q, z), squared, atol=1e-6)


def test_loss_is_symmetric_in_the_two_views(network):
    both = views()
    assert torch.allclose(network(both)[0], network(both.roll(5, 0))[0])


def test_loss_compares_the_prediction_from_one_view_with_the_target_of_the_other(network):
    both = views()
    view, other = both.chunk(2)
    reference = in_two_passes(network)
    first = reference.predictor(reference.projector(reference.backbone(view)))
    second = reference.predictor(reference.projector(reference.backbone(other)))
    of_view, of_other = reference.target(view), reference.target(other)
    cosines = nn.functional.cosine_similarity(first, of_other) + nn.functional.cosine_similarity(second, of_view)
    assert torch.allclose(network(both)[0], (4 - 2 * cosines).mean())


def test_forward_returns_the_projections_of_both_views_without_graph(network):
    both = views()
    _, projections = network(both)
    assert projections.shape == (10, 8)
    assert not projections.requires_grad
    reference = in_two_passes(network)
    assert torch.allclose(projections[5:], reference.projector(reference.backbone(both[5:])))


# -- gradients


def test_online_parameters_get_gradients_and_the_target_none(network):
    network(views())[0].backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == name.startswith("target."), name
        assert parameter.requires_grad == (not name.startswith("target.")), name


def test_targets_pass_keeps_no_graph(network):
    seen = []
    network.target.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    network(views().requires_grad_())
    assert seen == [False]


def test_a_batch_of_one_passes_in_eval(network):
    loss, projections = network.eval()(views(1))
    assert loss.isfinite()
    assert projections.shape == (2, 8)


# -- the target


def test_target_starts_as_the_online_network_of_its_own_storage(network):
    for ours, theirs in zip(network.target.parameters(), online(network), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.data_ptr() != theirs.data_ptr()


def test_target_moves_by_the_decay(network):
    with torch.no_grad():
        for parameter in network.target.parameters():
            parameter.fill_(1.0)
        for parameter in online(network):
            parameter.fill_(5.0)
    network.update_target(0.75)
    for parameter in network.target.parameters():
        assert torch.equal(parameter, torch.full_like(parameter, 2.0))  # 0.75 * 1 + 0.25 * 5
    for parameter in online(network):
        assert torch.equal(parameter, torch.full_like(parameter, 5.0))


def test_target_with_decay_one_stays(network):
    with torch.no_grad():
        for parameter in online(network):
            parameter.add_(1.0)
    before = [parameter.clone() for parameter in network.target.parameters()]
    network.update_target(1.0)
    for parameter, old in zip(network.target.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_update_leaves_the_targets_running_statistics_alone(network):
    network(views())
    network.backbone[1].running_mean.fill_(7.0)
    before = copy.deepcopy(dict(network.target.named_buffers()))
    network.update_target(0.5)
    for name, buffer in network.target.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_targets_running_statistics_follow_its_own_forward_pass(network):
    both = views()
    convolution, norm = network.target[0][:2]
    with torch.no_grad():
        convolution.weight.mul_(3)  # no longer the online network's
        means = [convolution(images).mean((0, 2, 3)) for images in both.chunk(2)]
    network(both)
    assert torch.allclose(norm.running_mean, 0.9 * 0.1 * means[0] + 0.1 * means[1], atol=1e-6)
    assert not torch.allclose(norm.running_mean, network.backbone[1].running_mean, atol=1e-2)


# -- decay and the collapse alarm


def test_decay_climbs_from_its_base_to_one():
    assert ema_decay(0.99, 0, 100) == pytest.approx(0.99)
    assert ema_decay(0.99, 50, 100) == pytest.approx(0.995)
    assert ema_decay(0.99, 100, 100) == 1


def test_projection_std_of_equal_directions_is_zero():
    projections = torch.tensor([[1.0, 2.0, 2.0], [2.0, 4.0, 4.0], [0.5, 1.0, 1.0]])
    assert projection_std(projections).item() == pytest.approx(0, abs=1e-6)


def test_projection_std_of_opposite_units_by_hand():
    # Along the first axis 1 and -1: std sqrt(2); along the second 0. Mean sqrt(2) / 2.
    assert projection_std(torch.tensor([[3.0, 0.0], [-8.0, 0.0]])).item() == pytest.approx(math.sqrt(0.5))


def test_projection_std_of_spread_directions_is_near_one_over_root_d():
    assert projection_std(torch.randn(4000, 64)).item() == pytest.approx(1 / 8, rel=0.02)
