"""How a backbone's features do as it is trained: neighbours, a linear classifier, effective rank."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hw1.byol.measures import linear_scores, rankme, vote
from hw1.classify.classification import labelled_batches
from hw1.data.arrays import Manifest, load_array
from hw1.engine.recipe import Row
from hw1.engine.validation import features
from hw1.images.batches import Batches
from hw1.images.machine import Machine
from hw1.run.parameters.params import Probes

QUERY = 5  # a fifth of mini's images is looked up among the others
BATCH = 256  # images


@dataclass(frozen=True)
class Features:
    """What a backbone makes of two halves of a set of images: features (N, F) float32, labels (N,) int64 each."""

    bank: Tensor
    bank_labels: Tensor
    queries: Tensor
    labels: Tensor

    def neighbours(self, count: int) -> float:
        """Share of the queries whose ``count`` nearest neighbours in the bank vote for their class."""
        return self._share(vote(self.bank, self.bank_labels, self.queries, count))

    def linear(self) -> float:
        """Share of the queries that a linear classifier fitted to the bank tells right."""
        return self._share(linear_scores(self.bank, self.bank_labels, self.queries).argmax(1))

    def rank(self) -> float:
        """Effective rank of all features."""
        return rankme(torch.cat([self.bank, self.queries]))

    def _share(self, predicted: Tensor) -> float:
        return (predicted == self.labels).sum().item() / len(self.labels)


@dataclass(frozen=True)
class Halves:
    """Images that are a memory (``bank``), and others that are looked up in it."""

    bank: Batches
    queries: Batches

    @torch.no_grad()
    def seen_by(self, backbone: nn.Module, machine: Machine) -> Features:
        halves = (features(backbone, backbone, batches, machine) for batches in (self.bank, self.queries))
        return Features(*(tensor for half in halves for tensor in half))


class Monitor:
    """What a backbone's features are worth, before its training (``start``) and after each epoch; it changes nothing.

    ``knn_office`` and ``linear_office``: of the fine-tuning images, the validation's told by the training's.
    ``rankme``: of the pre-training images, ``params.images`` of them at most, drawn at random; where they have labels
    ``knn_mini`` as well.
    """

    def __init__(self, backbone: nn.Module, mini: Path, office: Path, params: Probes, machine: Machine):
        self._backbone, self._neighbours, self._machine = backbone, params.neighbours, machine
        self._office = Halves(*(labelled_batches(office, split, BATCH, machine) for split in ("train", "validation")))
        manifest = Manifest.load(mini)
        self._labelled = bool(manifest.classes)
        chosen = np.random.default_rng(0).permutation(len(manifest.train))[: params.images]
        images = load_array(mini, "train_images")
        labels = load_array(mini, "train_labels") if self._labelled else None
        parts = (np.sort(part) for part in np.split(chosen, [len(chosen) - max(1, len(chosen) // QUERY)]))
        self._mini = Halves(
            *(Batches(images[i], labels if labels is None else labels[i], BATCH, machine) for i in parts)
        )
        self.start = self()

    @property
    def columns(self) -> tuple[str, ...]:
        """The history's."""
        return tuple(self.start)

    def __call__(self) -> Row:
        """The numbers of the backbone as it is now."""
        return dict(self._numbers())

    def _numbers(self) -> Iterator[tuple[str, float]]:
        office = self._office.seen_by(self._backbone, self._machine)
        yield "knn_office", office.neighbours(self._neighbours)
        yield "linear_office", office.linear()
        mini = self._mini.seen_by(self._backbone, self._machine)
        if self._labelled:
            yield "knn_mini", mini.neighbours(self._neighbours)
        yield "rankme", mini.rank()

    def headline(self, rows: list[Row]) -> dict[str, float]:
        """The last epoch's numbers, beside those before the training."""
        last = rows[-1] if rows else self.start
        numbers = {name: round(last[name], 6) for name in (*self.columns, "spread", "collapsed") if name in last}
        if "collapsed" in last:
            numbers["collapsed_epochs"] = sum(row["collapsed"] for row in rows)
        return numbers | {f"{name}_at_start": round(value, 6) for name, value in self.start.items()}
