"""BatchNorm of several views in one pass: each view of the batch keeps statistics of its own.

Two views of N images go through a network as one batch of 2N: half the calls, every weight read once.
BatchNorm must not mix them, or one view would tell the other what it looks like.

On a CPU that pays. On a GPU it does not where gradients come back: torch's fused backward pass brings memory of its
own for each view, which would have to be copied into the batch's, and a GPU is full with one view. There the views
of the online network come one by one (``views`` 1), see :class:`hw1.byol.byol.Byol`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hw1.engine.synchronised import synchronised_norm
from hw1.run.processes.ranks import world

VIEWS = 2


@dataclass(frozen=True)
class Seen:
    """What a norm found in one view, of each channel (C,) float32, and the ``count`` of values that it is of."""

    mean: Tensor
    inverse_std: Tensor
    count: int


class ViewBatchNorm(nn.BatchNorm2d):
    """BatchNorm that, in training, treats the ``views`` equal parts of a batch (views * N, C, ...) as batches one after
    the other.

    Results and running statistics are those of as many passes through ``nn.BatchNorm``, over all ranks, once
    :func:`finish_batch` is called. In eval the views do not matter.
    """

    views = VIEWS
    seen: list[Seen]  # on a GPU, of the batch under way; each norm's own by :func:`separate_views`

    def forward(self, batch: Tensor) -> Tensor:
        if not self.training:
            return super().forward(batch)
        if world() > 1:
            return synchronised_norm(self, batch, self.views)
        return _EachView.apply(batch, self.weight, self.bias, self)

    def _check_input_dim(self, batch: Tensor) -> None:
        """Any number of dimensions: the projector's BatchNorm is one of rows."""


def separate_views(network: nn.Module) -> list[ViewBatchNorm]:
    """Let every BatchNorm of ``network`` keep the views of a batch apart; its state stays as it is."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.__class__, norm.seen = ViewBatchNorm, []
    return norms


@torch.no_grad()
def finish_batch(norms: Iterable[ViewBatchNorm]) -> None:
    """Count the batch that the norms in training have seen and, on a GPU, let their running statistics follow it.

    A few calls for all of them together: one each were 327 of the 1,928 kernels of ResNet50's step.
    """
    norms = [norm for norm in norms if norm.training]
    if not norms:
        return
    torch._foreach_add_([norm.num_batches_tracked for norm in norms], VIEWS)
    waiting = [norm for norm in norms if norm.seen]  # of one momentum and one eps, torch's
    for views in zip(*(norm.seen for norm in waiting), strict=True):  # one of each norm
        means, variances = [seen.mean for seen in views], torch._foreach_pow([seen.inverse_std for seen in views], -2)
        torch._foreach_sub_(variances, waiting[0].eps)
        torch._foreach_mul_(variances, [seen.count / (seen.count - 1) for seen in views])
        torch._foreach_lerp_([norm.running_mean for norm in waiting], means, waiting[0].momentum)
        torch._foreach_lerp_([norm.running_var for norm in waiting], variances, waiting[0].momentum)
    for norm in waiting:
        norm.seen.clear()


class _EachView(torch.autograd.Function):
    """torch's fused BatchNorm on each view, which writes into its part of one result."""

    @staticmethod
    def forward(ctx: Any, batch: Tensor, weight: Tensor, bias: Tensor, norm: ViewBatchNorm) -> Tensor:
        result = torch.empty_like(batch)
        statistics = []
        for view, place in zip(batch.chunk(norm.views), result.chunk(norm.views), strict=True):
            if batch.is_cuda:  # what native_batch_norm does there, without a call for the running statistics
                mean, inverse_std = torch.batch_norm_stats(view, norm.eps)
                torch.batch_norm_elemt(view, weight, bias, mean, inverse_std, norm.eps, out=place)
                norm.seen.append(Seen(mean, inverse_std, view.numel() // view.shape[1]))
            else:
                mean, inverse_std = torch.empty(2, len(weight))
                torch.ops.aten.native_batch_norm.out(
                    view, weight, bias, norm.running_mean, norm.running_var, True, norm.momentum, norm.eps,
                    out=place, save_mean=mean, save_invstd=inverse_std,
                )  # fmt: skip
            statistics += [mean, inverse_std]
        ctx.save_for_backward(batch, weight, *statistics)
        ctx.eps, ctx.views = norm.eps, norm.views
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        batch, weight, *statistics = ctx.saved_tensors
        to_batch = None if ctx.views == 1 else torch.empty_like(batch)
        to_affine: list[Tensor] = []
        pairs = zip(statistics[::2], statistics[1::2], strict=True)
        parts = zip(gradient.chunk(ctx.views), batch.chunk(ctx.views), pairs, strict=True)
        for number, (part, view, (mean, inverse_std)) in enumerate(parts):
            to_view, *more = torch.ops.aten.native_batch_norm_backward(
                part, view, weight, None, None, mean, inverse_std, True, ctx.eps, [True, True, True]
            )
            if to_batch is None:
                return to_view, *more, None
            to_batch.chunk(ctx.views)[number].copy_(to_view)
            to_affine = torch._foreach_add(to_affine, more) if to_affine else more
        return to_batch, *to_affine, None
