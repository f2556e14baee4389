"""BYOL: Bootstrap Your Own Latent (Grill et al. 2020, arXiv:2006.07733).

An online network (backbone f, projector g, predictor q) predicts, from one view of an image, what a slowly moving
target network (f, g) makes of another view.

Both views go through a network as one batch: half the calls, every weight read once. BatchNorm must not mix them, or
one view would tell the other what it looks like; :class:`ViewBatchNorm` keeps statistics of its own for each. On a GPU
that does not pay where gradients come back: torch's fused backward pass brings memory of its own for each view, which
would have to be copied into the batch's, and a GPU is full with one view. There the views of the online network come
one by one.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hw1.engine.synchronised import synchronised_norm
from hw1.images.kernels import square_root
from hw1.images.shares import all_reduce, share_of
from hw1.run.processes.ranks import world

VIEWS = 2


class Byol(nn.Module):
    """Online f, g, q and target f, g around a backbone with ``width`` features.

    The target's parameters are a moving average of the online ones and get no gradients. Its BatchNorm layers stay in
    training mode, as in the paper: each view is normalised by its own batch. So their running statistics follow the
    target's own activations; averaging the online statistics into them would mix two networks' activations.
    """

    def __init__(self, backbone: nn.Module, width: int, hidden: int, projection: int):
        super().__init__()
        self.backbone = backbone
        self.projector = mlp(width, hidden, projection)
        self.predictor = mlp(projection, hidden, projection)
        self.target = copy.deepcopy(nn.Sequential(self.backbone, self.projector)).requires_grad_(False)
        self._online = [norm for part in (backbone, self.projector, self.predictor) for norm in separate_views(part)]
        self._norms = [*self._online, *separate_views(self.target)]

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Two views of the same images, one after the other (2N, 3, H, W) float32 -> loss (scalar), projections
        (2N, projection).

        The loss is symmetrised: each view is predicted from the other one. On several ranks it is this one's part.
        """
        images = len(views) // VIEWS
        # Ranks exchange each norm's statistics: for them half as many messages weigh more.
        parts = views.chunk(VIEWS) if views.is_cuda and world() == 1 else (views,)
        for norm in self._norms:
            norm.seen.clear()  # of a batch too large for the memory
        for norm in self._online:
            norm.views = VIEWS // len(parts)
        with torch.no_grad():
            goals = self.target(views)
        projections = [self.projector(self.backbone(part)) for part in parts]
        predictions = torch.cat([self.predictor(projection) for projection in projections])
        finish_batch(self._norms)
        losses = byol_loss(predictions, goals.roll(images, 0))  # each view with the other's goal
        return losses.sum() / share_of(views[:images]).total, torch.cat(projections).detach()

    def update_target(self, decay: float) -> None:
        """target <- decay * target + (1 - decay) * online, parameters only."""
        online = [*self.backbone.parameters(), *self.projector.parameters()]
        get_ema_multi_avg_fn(decay)(list(self.target.parameters()), online, 0)


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, BatchNorm, ReLU, Linear: projector and predictor of the paper's section 3.3."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs)
    )


def byol_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """2 - 2 <q, z'> / (|q| |z'|) of each row: (N, D), (N, D) -> (N,) in [0, 4], the report's formula."""
    return 2 - 2 * nn.functional.cosine_similarity(prediction.float(), target.float(), dim=-1)


def ema_decay(base: float, step: int, steps: int) -> float:
    """Decay at ``step`` of ``steps``: from ``base`` up to 1 along a cosine (paper, section 3.3)."""
    return 1 - (1 - base) * (math.cos(math.pi * step / steps) + 1) / 2


def projection_std(projections: Tensor) -> Tensor:
    """Mean over dimensions of the std of the L2-normalised projections (N, D) of all ranks: the collapse alarm.

    About 1/sqrt(D) when projections spread over the sphere, near 0 when all images get the same one
    (Chen and He 2021, arXiv:2011.10566, figure 2).
    """
    directions = nn.functional.normalize(projections.float(), dim=-1)
    count = all_reduce(torch.tensor(len(directions)))
    centred = directions - all_reduce(directions.sum(dim=0)) / count
    return square_root(all_reduce(centred.square().sum(dim=0)) / (count - 1)).mean()


# -- BatchNorm of two views


@dataclass(frozen=True)
class Seen:
    """Statistics of each channel (C,) float32 of one view, and the ``count`` of values that they are of."""

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
