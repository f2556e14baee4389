"""Layers that see the whole batch where ranks share it: BatchNorm's statistics, dropout's draws.

torch.nn.SyncBatchNorm does the former on GPUs, for one view; this one runs on any device and keeps two views
apart. Collectives and kernels are torch's.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torchvision.ops import StochasticDepth

from hw1.images.shares import all_gather, all_reduce, share_of


def synchronise(network: nn.Module) -> nn.Module:
    """Let the layers of ``network`` see the whole batch; its state stays as it is."""
    for module in network.modules():
        for plain, synchronised in LAYERS.items():
            if type(module) is plain:
                module.__class__ = synchronised
    return network


class SyncBatchNorm(nn.BatchNorm2d):
    """BatchNorm that, in training, takes the statistics of a batch (N, C, ...) over all ranks."""

    def forward(self, batch: Tensor) -> Tensor:
        if not self.training:
            return super().forward(batch)
        self.num_batches_tracked.add_(1)
        return synchronised_norm(self, batch, views=1)

    def _check_input_dim(self, batch: Tensor) -> None:
        """Any number of dimensions, as BatchNorm1d and 2d together."""


class SyncDropout(nn.Dropout):
    """Dropout as if this rank's images were a part of the whole batch."""

    def forward(self, batch: Tensor) -> Tensor:
        return batch * _kept(batch, batch.shape[1:], self.p) if self.training and self.p else batch


class SyncStochasticDepth(StochasticDepth):
    """Stochastic depth by rows as if this rank's images were a part of the whole batch."""

    def forward(self, batch: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return batch
        return batch * _kept(batch, (1,) * (batch.ndim - 1), self.p)


LAYERS: dict[type, type] = {
    nn.BatchNorm1d: SyncBatchNorm,
    nn.BatchNorm2d: SyncBatchNorm,
    nn.Dropout: SyncDropout,
    StochasticDepth: SyncStochasticDepth,
}


def _kept(batch: Tensor, shape: tuple[int, ...], dropped: float) -> Tensor:
    """Factors of a part (N, ...) of the whole batch: 0 with probability ``dropped``, else 1 / (1 - p)."""
    share = share_of(batch)
    rows_last = batch.ndim == 4 and batch.is_contiguous(memory_format=torch.channels_last)
    order = torch.channels_last if rows_last and len(shape) == 3 else torch.contiguous_format
    whole = torch.empty((share.total, *shape), dtype=batch.dtype, device=batch.device, memory_format=order)
    return share.rows(whole.bernoulli_(1 - dropped).div_(1 - dropped if dropped < 1 else 1))


def synchronised_norm(norm: nn.BatchNorm2d, batch: Tensor, views: int) -> Tensor:
    """A training pass of ``norm`` over a batch of ``views`` equal parts, each by its own rows on all ranks."""
    return _Normalised.apply(batch, norm.weight, norm.bias, norm, views)


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, views: int) -> Tensor:
        parts = _views(batch, views)
        local = torch.stack([_moments(part) for part in parts])  # (views, 2, C)
        counts, moments = _of_all_ranks(local, batch.numel() / (views * batch.shape[1]))
        count = counts.sum()
        share = (counts / count).view(-1, 1, 1)
        means, variances = moments.unbind(2)  # (ranks, views, C)
        mean = (share * means).sum(0)
        variance = (share * (variances + (means - mean).square())).sum(0)
        for view in range(views):
            norm.running_mean.lerp_(mean[view], norm.momentum)
            norm.running_var.lerp_(variance[view] * (count / (count - 1)), norm.momentum)
        ctx.save_for_backward(batch, weight, mean, variance, count)
        ctx.eps, ctx.views = norm.eps, views
        result = torch.empty_like(batch)
        for view, (part, place) in enumerate(zip(parts, _views(result, views), strict=True)):
            _scaled(part, weight, bias, mean[view], variance[view], norm.eps, place)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        batch, weight, mean, variance, count = ctx.saved_tensors
        to_batch = torch.empty_like(batch)
        parts = list(zip(*(_views(tensor, ctx.views) for tensor in (gradient, batch, to_batch)), strict=True))
        # With constant statistics first, and the sums of gradient * normal and of gradient over this rank's rows.
        local = torch.stack([_constant(*part, weight, mean[v], variance[v], ctx.eps) for v, part in enumerate(parts)])
        with_normal, plain = (all_reduce(local.clone()) / count).unbind(1)  # (views, C)
        # Then what the statistics' own dependence on the batch takes from it, again a scaled and shifted batch.
        for view, (_, rows, place) in enumerate(parts):
            if len(rows):
                inverse_std = (variance[view] + ctx.eps).rsqrt()
                slope, offset = -weight * inverse_std * with_normal[view], -weight * inverse_std * plain[view]
                taken = torch.empty_like(place)
                _scaled(rows, slope, offset, mean[view], variance[view], ctx.eps, taken)
                place += taken
        to_weight, to_bias = local.sum(0)
        return to_batch, to_weight, to_bias, None, None


def _views(batch: Tensor, views: int) -> list[Tensor]:
    """The equal parts of a batch, which may have no rows."""
    size = len(batch) // views
    return [batch[view * size : (view + 1) * size] for view in range(views)]


def _moments(rows: Tensor) -> Tensor:
    """Mean and variance of each channel: (N, C, ...) -> (2, C) float32; zeros of no rows."""
    moments = torch.zeros(2, rows.shape[1], device=rows.device)
    if len(rows):
        mean, variance = torch.zeros_like(moments[0]), torch.zeros_like(moments[0])
        # Float32 statistics make it count in float32 whatever the rows are.
        moments = torch.stack(torch.ops.aten.batch_norm_update_stats(rows, mean, variance, 1.0))
    return moments


def _of_all_ranks(local: Tensor, count: float) -> tuple[Tensor, Tensor]:
    """Counts (ranks,) and moments (ranks, views, 2, C), in one exchange."""
    packed = torch.cat([local.new_full((1,), count), local.flatten()])  # new_tensor would wait for a GPU
    every = all_gather(packed)
    return every[:, 0], every[:, 1:].unflatten(1, local.shape)


def _scaled(
    rows: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float, place: Tensor
) -> None:
    """Write (rows - mean) / sqrt(variance + eps) * weight + bias into ``place``, in one pass."""
    if len(rows):
        unused = torch.empty(0, device=rows.device)
        torch.ops.aten.native_batch_norm.out(
            rows, weight, bias, mean, variance, False, 0.0, eps, out=place, save_mean=unused, save_invstd=unused.clone()
        )


def _constant(
    gradient: Tensor, rows: Tensor, place: Tensor, weight: Tensor, mean: Tensor, variance: Tensor, eps: float
) -> Tensor:
    """The gradients of :func:`_scaled`: of ``rows`` into ``place``, of weight and bias as (2, C)."""
    if not len(rows):
        return torch.zeros(2, len(weight), device=weight.device)
    unused = mean.new_empty(0)  # a GPU's kernel wants tensors, not None
    to_rows, to_weight, to_bias = torch.ops.aten.native_batch_norm_backward(
        gradient, rows, weight, mean, variance, unused, unused, False, eps, [True, True, True]
    )
    place.copy_(to_rows)
    return torch.stack([to_weight, to_bias])
