"""BatchNorm of several views in one pass: each view of the batch keeps statistics of its own.

Two views of N images go through a network as one batch of 2N: half the calls, every weight read once.
BatchNorm must not mix them, or one view would tell the other what it looks like.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hw1.models.synchronised import synchronised_norm
from hw1.ranks import world

VIEWS = 2


class ViewBatchNorm(nn.BatchNorm2d):
    """BatchNorm that, in training, treats the halves of a batch (2N, C, ...) as two batches one after the other.

    Results and running statistics are those of two passes through ``nn.BatchNorm``, over all ranks. In eval
    the views do not matter.
    """

    def forward(self, batch: Tensor) -> Tensor:
        if not self.training:
            return super().forward(batch)
        self.num_batches_tracked.add_(VIEWS)
        if world() > 1:
            return synchronised_norm(self, batch, VIEWS)
        if torch.compiler.is_compiling():
            return self._by_operators(batch)
        statistics = self.running_mean, self.running_var
        return _EachView.apply(batch, self.weight, self.bias, *statistics, self.momentum, self.eps)

    def _by_operators(self, batch: Tensor) -> Tensor:
        """Training's forward pass in plain operators, which torch.compile fuses with what stands around them."""
        views = batch.float().unflatten(0, (VIEWS, -1))  # (2, N, C, ...)
        shape = (1, 1, -1) + (1,) * (batch.ndim - 2)
        others = [1, *range(3, views.ndim)]
        var, mean = torch.var_mean(views, others, correction=0, keepdim=True)
        count = views.numel() / (VIEWS * views.shape[2])
        with torch.no_grad():
            for view in range(VIEWS):
                self.running_mean.lerp_(mean[view].flatten(), self.momentum)
                self.running_var.lerp_(var[view].flatten() * (count / (count - 1)), self.momentum)
        normal = (views - mean) * (var + self.eps).rsqrt() * self.weight.view(shape) + self.bias.view(shape)
        return normal.flatten(0, 1).to(batch.dtype)

    def _check_input_dim(self, batch: Tensor) -> None:
        """Any number of dimensions: the projector's BatchNorm is one of rows."""


def separate_views(network: nn.Module) -> nn.Module:
    """Let every BatchNorm of ``network`` keep the two views of a batch apart; its state stays as it is."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.__class__ = ViewBatchNorm
    return network


class _EachView(torch.autograd.Function):
    """torch's fused BatchNorm on each view, which writes into its part of one result."""

    @staticmethod
    def forward(
        ctx: Any,
        batch: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
    ) -> Tensor:
        result = torch.empty_like(batch)
        statistics = torch.empty(VIEWS, 2, len(weight), device=batch.device)
        for view, place, (mean, inverse_std) in zip(batch.chunk(VIEWS), result.chunk(VIEWS), statistics, strict=True):
            torch.ops.aten.native_batch_norm.out(
                view, weight, bias, running_mean, running_var, True, momentum, eps,
                out=place, save_mean=mean, save_invstd=inverse_std,
            )  # fmt: skip
        ctx.save_for_backward(batch, weight, statistics)
        ctx.eps = eps
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        batch, weight, statistics = ctx.saved_tensors
        to_batch = torch.empty_like(batch)
        to_weight, to_bias = torch.zeros_like(weight), torch.zeros_like(weight)
        parts = zip(gradient.chunk(VIEWS), batch.chunk(VIEWS), to_batch.chunk(VIEWS), statistics, strict=True)
        for part, view, place, (mean, inverse_std) in parts:
            to_view, *to_affine = torch.ops.aten.native_batch_norm_backward(
                part, view, weight, None, None, mean, inverse_std, True, ctx.eps, [True, True, True]
            )
            place.copy_(to_view)
            to_weight += to_affine[0]
            to_bias += to_affine[1]
        return to_batch, to_weight, to_bias, None, None, None, None
