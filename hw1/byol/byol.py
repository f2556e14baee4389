"""BYOL: Bootstrap Your Own Latent (Grill et al. 2020, arXiv:2006.07733).

An online network (backbone f, projector g, predictor q) predicts, from one view of an image, what a
slowly moving target network (f, g) makes of another view.
"""

import copy
import math

import torch
from torch import Tensor, nn

from hw1.byol.view_norm import VIEWS, finish_batch, separate_views
from hw1.images.kernels import square_root
from hw1.images.shares import add_up, share_of
from hw1.run.processes.ranks import world


class Byol(nn.Module):
    """Online f, g, q and target f, g around a backbone with ``width`` features.

    The target's parameters are a moving average of the online ones and get no gradients. Its BatchNorm
    layers stay in training mode, as in the paper: each view is normalised by its own batch. Their
    running statistics therefore follow the target's own activations, averaged by BatchNorm itself;
    averaging the online statistics into them as well would mix two networks' activations.

    Both views go through each network in one pass, but for the online network on a GPU; BatchNorm keeps them apart
    (:mod:`hw1.byol.view_norm`).
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
            norm.seen.clear()  # what a batch too large for the memory has left
        for norm in self._online:
            norm.views = VIEWS // len(parts)
        with torch.no_grad():
            goals = self.target(views)
        projections = [self.projector(self.backbone(part)) for part in parts]
        predictions = torch.cat([self.predictor(projection) for projection in projections])
        finish_batch(self._norms)
        losses = byol_loss(predictions, goals.roll(images, 0))  # each view with the other's goal
        return losses.sum() / share_of(views[:images]).total, torch.cat(projections).detach()

    @torch.no_grad()
    def update_target(self, decay: float) -> None:
        """target <- decay * target + (1 - decay) * online, parameters only."""
        online = [*self.backbone.parameters(), *self.projector.parameters()]
        torch._foreach_lerp_(list(self.target.parameters()), online, 1.0 - decay)


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
    count = add_up(torch.tensor(len(directions)))
    centred = directions - add_up(directions.sum(dim=0)) / count
    return square_root(add_up(centred.square().sum(dim=0)) / (count - 1)).mean()
