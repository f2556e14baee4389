"""BatchNorm of two views in one pass, against torch's own in two passes."""

import copy

import pytest
import torch
from torch import nn

from hw1.byol.byol import Seen, ViewBatchNorm, finish_batch, separate_views


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


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
    assert result.dtype == dtype
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


def test_a_batch_that_was_not_trained_on_is_not_counted():
    _, norm = norms(SHAPES[0])
    norm.eval()(batch_of(SHAPES[0]))
    finish_batch([norm])
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_one_view_does_not_touch_the_other(shape):
    _, norm = norms(shape)
    batch = batch_of(shape)
    changed = batch.clone()
    changed[len(batch) // 2 :] += 100
    assert torch.equal(norm(batch)[: shape[0]], norm(changed)[: shape[0]])


@pytest.mark.parametrize("shape", SHAPES)
def test_in_eval_it_is_torchs(shape):
    reference, norm = norms(shape)
    batch = batch_of(shape)
    assert torch.equal(norm.eval()(batch), reference.eval()(batch))


def test_fused_form_keeps_channels_last():
    _, norm = norms((4, 6, 5, 3))
    assert norm(batch_of((4, 6, 5, 3))).is_contiguous(memory_format=torch.channels_last)


def test_every_norm_of_a_network_is_replaced_and_its_state_kept():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm1d(4)))
    before = copy.deepcopy(network.state_dict())
    assert separate_views(network) == [network[1], network[2][0]]
    assert [type(module) for module in (network[1], network[2][0])] == [ViewBatchNorm] * 2
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
