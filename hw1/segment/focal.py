"""The loss of segmenters: focal loss, of which cross entropy is a case."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from hw1.data.classes import UNKNOWN
from hw1.run.parameters.params import Segmenter


def segment_loss(training: Segmenter) -> Callable[..., Tensor]:
    """The loss a section of ``segment`` names, see :func:`focal_loss`: logits, masks, count or none -> scalar."""
    alpha, gamma = (1.0, 0.0) if training.loss == "cross_entropy" else (training.focal_alpha, training.focal_gamma)
    return partial(focal_loss, alpha=alpha, gamma=gamma, ignore=UNKNOWN)


def focal_loss(
    logits: Tensor, masks: Tensor, count: Tensor | None = None, *, alpha: float, gamma: float, ignore: int
) -> Tensor:
    """Mean over the pixels whose class is not ``ignore`` of -alpha (1 - p)^gamma log p, p the true class's probability.

    logits (N, K, H, W), masks (N, H, W) uint8 -> scalar; zero if all pixels are ignored. Lin et al. 2017
    (arXiv:1708.02002); alpha 1 and gamma 0 make it cross entropy. Written with gather, whose backward
    pass can be deterministic on a GPU where NLLLoss2d's cannot.

    ``count``: the pixels, not ignored, of the batch of which these tiles are a share; the shares' results add up
    to its mean.
    """
    known = masks != ignore
    target = masks.long().where(known, 0).unsqueeze(1)  # (N, 1, H, W)
    log_p = logits.float().log_softmax(1).gather(1, target).squeeze(1)
    # The clamp keeps the slope finite where p rounds to 1 and gamma is below 1.
    weight = (1 - log_p.exp()).clamp(min=1e-6) ** gamma
    return (-alpha * weight * log_p * known).sum() / (known.sum() if count is None else count).clamp(min=1)
