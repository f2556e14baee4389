"""Losses and scores of a batch of classified images, as pure functions of logits and labels."""

from torch import Tensor, nn


def cross_entropy(logits: Tensor, labels: Tensor, count: int | None = None) -> Tensor:
    """Mean cross entropy: logits (N, K), labels (N,) int64 -> scalar.

    ``count``: the images of the batch of which these N are a share; the shares' results add up to its mean.
    """
    return nn.functional.cross_entropy(logits.float(), labels, reduction="sum") / (count or len(labels))


def correct(logits: Tensor, labels: Tensor, count: int | None = None) -> Tensor:
    """Rows whose largest logit is the label, as a share of all (or of ``count``): scalar float32."""
    return (logits.argmax(1) == labels).sum() / (count or len(labels))
