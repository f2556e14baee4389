"""BYOL: its loss by hand, what moves the target, and BatchNorm of two views in one pass against two."""

import copy
import math

import pytest
import torch
from torch import nn

from hw1.byol.byol import (
    Byol,
    Seen,
    ViewBatchNorm,
    byol_loss,
    ema_decay,
    finish_batch,
    projection_std,
    separate_views,
)


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


def test_loss_of_a_row_by_hand():
    """The same, scaled, orthogonal, opposite, at 45 degrees."""
    predictions = torch.tensor([[3.0, 4], [3, 4], [1, 0], [1, 2], [1, 0]])
    targets = torch.tensor([[3.0, 4], [6, 8], [0, 5], [-1, -2], [1, 1]])
    assert byol_loss(predictions, targets).tolist() == pytest.approx([0, 0, 2, 4, 2 - math.sqrt(2)], abs=1e-6)


def test_loss_compares_the_prediction_from_one_view_with_the_target_of_the_other(network):
    both = views()
    reference = in_two_passes(network)
    projected = [reference.projector(reference.backbone(view)) for view in both.chunk(2)]
    first, second = (reference.predictor(projection) for projection in projected)
    of_first, of_second = (reference.target(view) for view in both.chunk(2))
    cosines = nn.functional.cosine_similarity(first, of_second) + nn.functional.cosine_similarity(second, of_first)
    loss, projections = network(both)
    assert torch.allclose(loss, (4 - 2 * cosines).mean())
    assert torch.allclose(projections, torch.cat(projected)) and not projections.requires_grad


# -- gradients


def test_online_parameters_get_gradients_and_the_target_none_nor_a_graph(network):
    graphs = []
    network.target.register_forward_hook(lambda module, inputs, output: graphs.append(output.requires_grad))
    network(views().requires_grad_())[0].backward()
    assert graphs == [False]
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad == (not name.startswith("target.")), name


def test_a_batch_of_one_passes_in_eval(network):
    loss, projections = network.eval()(views(1))
    assert loss.isfinite()
    assert projections.shape == (2, 8)


# -- the target


def test_target_starts_as_the_online_network_of_its_own_storage(network):
    for ours, theirs in zip(network.target.parameters(), online(network), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.data_ptr() != theirs.data_ptr()


def test_target_moves_by_the_decay_and_its_running_statistics_do_not(network):
    network(views())
    network.backbone[1].running_mean.fill_(7.0)
    before = copy.deepcopy(dict(network.target.named_buffers()))
    for parameters, value in ((network.target.parameters(), 1.0), (online(network), 5.0)):
        for parameter in parameters:
            nn.init.constant_(parameter, value)
    network.update_target(0.75)
    assert {value for parameter in network.target.parameters() for value in parameter.flatten().tolist()} == {2.0}
    assert {value for parameter in online(network) for value in parameter.flatten().tolist()} == {5.0}
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.target.named_buffers())


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
    assert [ema_decay(0.99, step, 100) for step in (0, 50, 100)] == pytest.approx([0.99, 0.995, 1])


@pytest.mark.parametrize(
    "projections, std",
    [
        ([[1.0, 2.0, 2.0], [2.0, 4.0, 4.0], [0.5, 1.0, 1.0]], 0),  # equal directions
        # Opposite units, along the first axis 1 and -1: std sqrt(2); along the second 0. Mean sqrt(2) / 2.
        ([[3.0, 0.0], [-8.0, 0.0]], math.sqrt(0.5)),
    ],
)
def test_projection_std_by_hand(projections, std):
    assert projection_std(torch.tensor(projections)).item() == pytest.approx(std, abs=1e-6)


# -- BatchNorm of two views


def norms(shape):
    """torch's BatchNorm for batches of this shape with random state, and a copy that separates views."""
    norm = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[1])
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        tensor.copy_(torch.rand(shape[1]) + 0.5)
    return norm, *separate_views(copy.deepcopy(norm))


def batch_of(shape, dtype=torch.float32):
    """Two views of unlike statistics, as one batch."""
    views = torch.randn(shape), 5 + 3 * torch.randn(shape)
    batch = torch.cat(views).to(dtype)
    return batch.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else batch


SHAPES = [(4, 6, 5, 3), (7, 5)]


GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("views", [2, 1], ids=["together", "one by one"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_results_gradients_and_statistics_are_those_of_torchs_norm_and_two_passes(
    device, views, shape, dtype, tolerance
):
    reference, norm = (module.to(device) for module in norms(shape))
    norm.views = views
    batch = batch_of(shape, dtype).to(device)
    towards = torch.randn_like(batch)
    ours, theirs = (batch.clone().requires_grad_() for _ in range(2))
    result = torch.cat([norm(part) for part in ours.chunk(2 // views)])
    finish_batch([norm])
    expected = torch.cat([reference(view) for view in theirs.chunk(2)])
    assert result.dtype == dtype and result.stride() == expected.stride()  # channels last as it came
    assert torch.allclose(result, expected, atol=tolerance)
    result.backward(towards)
    expected.backward(towards)
    assert torch.allclose(ours.grad, theirs.grad, atol=tolerance)
    for name, parameter in norm.named_parameters():
        assert torch.allclose(parameter.grad, reference.get_parameter(name).grad, atol=10 * tolerance), name
    for name, buffer in norm.named_buffers():
        assert torch.allclose(buffer, reference.get_buffer(name), atol=tolerance), name
    assert norm.num_batches_tracked == 2


def test_running_statistics_follow_what_norms_have_seen_on_a_gpu():
    """There the statistics of the views wait for all norms' one update; filled in here as torch's kernels give them."""
    pairs = [norms(shape) for shape in SHAPES]
    for (reference, norm), shape in zip(pairs, SHAPES, strict=True):
        for view in batch_of(shape).chunk(2):
            reference(view)
            rows = view.transpose(0, 1).flatten(1)
            inverse_std = (rows.var(1, correction=0) + norm.eps).rsqrt()
            norm.seen.append(Seen(rows.mean(1), inverse_std, rows.shape[1]))
    finish_batch([norm for _, norm in pairs])
    for reference, norm in pairs:
        for name, buffer in norm.named_buffers():
            assert torch.allclose(buffer, reference.get_buffer(name), atol=1e-5), name
        assert norm.seen == []


@pytest.mark.parametrize("shape", SHAPES)
def test_in_eval_it_is_torchs_and_counts_no_batch(shape):
    reference, norm = norms(shape)
    batch = batch_of(shape)
    assert torch.equal(norm.eval()(batch), reference.eval()(batch))
    finish_batch([norm])
    assert norm.num_batches_tracked == 0


def test_every_norm_of_a_network_is_replaced_and_its_state_kept():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm1d(4)))
    before = copy.deepcopy(network.state_dict())
    assert separate_views(network) == [network[1], network[2][0]]
    assert [type(module) for module in (network[1], network[2][0])] == [ViewBatchNorm] * 2
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
