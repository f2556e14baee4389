"""How well a backbone's features separate classes without any training: accuracy of its nearest neighbours."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hw1.engine.validation import features
from hw1.images.batches import Batches
from hw1.images.machine import Machine

TEMPERATURE = 0.07  # of the neighbours' votes, Wu et al. 2018 (arXiv:1805.01978), section 3.4
ROWS = 1024  # queries compared at a time


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
