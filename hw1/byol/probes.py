"""How well a backbone's features separate classes as it is trained: accuracy of their nearest neighbours."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hw1.classify.classification import labelled_batches
from hw1.data.arrays import Manifest, load_array
from hw1.engine.recipe import Row
from hw1.engine.validation import features
from hw1.images.batches import Batches
from hw1.images.machine import Machine
from hw1.run.params import Knn

TEMPERATURE = 0.07  # of the neighbours' votes, Wu et al. 2018 (arXiv:1805.01978), section 3.4
ROWS = 1024  # queries compared at a time
QUERY = 5  # a fifth of mini's images is looked up among the others
BATCH = 256  # images


@dataclass(frozen=True)
class Probe:
    """Labelled images whose features are the memory (``bank``), and others that are looked up in it."""

    bank: Batches
    queries: Batches

    @torch.no_grad()
    def accuracy(self, backbone: nn.Module, neighbours: int, machine: Machine) -> float:
        """Share of the queries whose nearest neighbours vote for their class."""
        (bank, bank_labels), (queries, labels) = (
            features(backbone, backbone, batches, machine) for batches in (self.bank, self.queries)
        )
        predicted = vote(bank, bank_labels, queries, neighbours)
        return (predicted == labels).sum().item() / len(labels)


def vote(bank: Tensor, bank_labels: Tensor, queries: Tensor, neighbours: int) -> Tensor:
    """The class that each query's nearest neighbours vote for: (M,) int64.

    bank (N, F), bank_labels (N,) int64, queries (M, F), float. Nearness is the cosine, a neighbour's vote weighs
    exp(cosine / TEMPERATURE); with fewer than ``neighbours`` in the bank all of them vote.
    """
    bank = nn.functional.normalize(bank, dim=1)
    classes, predicted = int(bank_labels.max()) + 1, []
    for part in nn.functional.normalize(queries, dim=1).split(ROWS):
        near = (part @ bank.T).topk(min(neighbours, len(bank)), dim=1)
        votes = torch.zeros(len(part), classes, device=bank.device)
        votes.scatter_add_(1, bank_labels[near.indices], ((near.values - 1) / TEMPERATURE).exp())
        predicted.append(votes.argmax(1))
    return torch.cat(predicted)


class Monitor:
    """Nearest-neighbour accuracy of a backbone's features, before its training (``start``) and after each epoch.

    On the fine-tuning images, train and validation; and on the pre-training images, where they have labels,
    ``params.images`` of them at most, drawn at random.
    """

    def __init__(self, backbone: nn.Module, mini: Path, office: Path, params: Knn, machine: Machine):
        self._backbone, self._neighbours, self._machine = backbone, params.neighbours, machine
        office_splits = (labelled_batches(office, split, BATCH, machine) for split in ("train", "validation"))
        self._probes = {"knn_office": Probe(*office_splits)}
        manifest = Manifest.load(mini)
        if manifest.classes:
            chosen = np.random.default_rng(0).permutation(len(manifest.train))[: params.images]
            images, labels = load_array(mini, "train_images"), load_array(mini, "train_labels")
            parts = (np.sort(part) for part in np.split(chosen, [len(chosen) - len(chosen) // QUERY]))
            self._probes["knn_mini"] = Probe(*(Batches(images[i], labels[i], BATCH, machine) for i in parts))
        self.start = self()

    @property
    def columns(self) -> tuple[str, ...]:
        """The history's."""
        return tuple(self._probes)

    def __call__(self) -> Row:
        """Accuracies of the backbone as it is now."""
        return {
            name: probe.accuracy(self._backbone, self._neighbours, self._machine)
            for name, probe in self._probes.items()
        }

    def headline(self, rows: list[Row]) -> dict[str, float]:
        """The last epoch's numbers, beside the accuracies before the training."""
        last = rows[-1] if rows else self.start
        numbers = {name: round(last[name], 6) for name in (*self._probes, "spread", "collapsed") if name in last}
        if "collapsed" in last:
            numbers["collapsed_epochs"] = sum(row["collapsed"] for row in rows)
        return numbers | {f"{name}_at_start": round(value, 6) for name, value in self.start.items()}
