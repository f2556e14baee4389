"""The worth of a backbone's features as it is trained: nearest neighbours, a linear classifier, effective rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hw1.data.arrays import Manifest, load_array
from hw1.engine.recipe import Row
from hw1.engine.validation import extract_features
from hw1.images.batches import Batches
from hw1.images.kernels import square_root
from hw1.images.machine import Machine
from hw1.run.parameters.params import Probes

QUERY = 5  # a fifth of mini's images is looked up among the others
BATCH = 256  # images
TEMPERATURE = 0.07  # of the neighbours' votes, Wu et al. 2018 (arXiv:1805.01978), section 3.4
ROWS = 1024  # queries compared at a time
PENALTY = 1.0  # of the linear classifier's weights, as scikit-learn's logistic regression has it (1 / C)
ITERATIONS = 40  # of L-BFGS, at most; its answers no longer change by then, its logits in their third digit
EPSILON = 1e-7  # added to each share of the singular values, RankMe's equation 1


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


@torch.enable_grad()
def linear_scores(bank: Tensor, bank_labels: Tensor, queries: Tensor) -> Tensor:
    """Logits of each query by a linear classifier fitted to the bank: (M, classes) float32.

    bank (N, F), bank_labels (N,) int64, queries (M, F), float; no gradient reaches what made them. Multinomial logistic
    regression on features that have mean 0 and deviation 1 over the bank: the sum of the cross entropies and half the
    squared weights times PENALTY, from weights of 0 by L-BFGS. So it draws nothing and remembers nothing: it judges
    the features as they are now.
    """
    deviation, mean = torch.std_mean(bank.detach(), dim=0, correction=0)
    scale = torch.where(deviation > 0, deviation, 1)
    known, asked = ((part.detach() - mean) / scale for part in (bank, queries))
    classes = int(bank_labels.max()) + 1
    weight = known.new_zeros(classes, known.shape[1], requires_grad=True)
    bias = known.new_zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, tolerance_grad=1e-6, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        entropy = nn.functional.cross_entropy(nn.functional.linear(known, weight, bias), bank_labels)
        value = entropy + PENALTY / 2 / len(known) * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return nn.functional.linear(asked, weight, bias).detach()


def rankme(features: Tensor) -> float:
    """The effective rank of features (N, F): exp of the entropy of their singular values' shares, 1 to min(N, F).

    1 where all are multiples of one vector, F where all directions count alike, nan of features that are no numbers.
    Garrido et al. 2023 (arXiv:2210.02885), equation 1. The singular values are the roots of the eigenvalues of the
    smaller of the two matrices of inner products, in float64: faster than to decompose the features. They are found
    on the CPU, which takes half a second for 2,048 features.
    """
    features = features.double()
    products = (features @ features.T if len(features) < features.shape[1] else features.T @ features).cpu()
    if not products.isfinite().all():
        return torch.nan
    values = square_root(torch.linalg.eigvalsh(products).clamp(min=0))
    shares = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny) + EPSILON
    return (-(shares * shares.log()).sum()).exp().item()


@dataclass(frozen=True)
class Features:
    """A backbone's features (N, F) float32 of two halves of a set of images, with their labels (N,) int64: a memory
    (``bank``), and ``queries`` that are looked up in it.
    """

    bank: Tensor
    bank_labels: Tensor
    queries: Tensor
    labels: Tensor

    @classmethod
    @torch.no_grad()
    def extract(cls, backbone: nn.Module, halves: Sequence[Batches], machine: Machine) -> "Features":
        """Extract the features of two halves' images, ``bank`` and ``queries``."""
        return cls(*(tensor for half in halves for tensor in extract_features(backbone, backbone, half, machine)))

    def knn_accuracy(self, neighbours: int) -> float:
        """Share of the queries whose nearest neighbours in the bank vote for their class."""
        return self._accuracy(vote(self.bank, self.bank_labels, self.queries, neighbours))

    def linear_accuracy(self) -> float:
        """Share of the queries that a linear classifier fitted to the bank tells right."""
        return self._accuracy(linear_scores(self.bank, self.bank_labels, self.queries).argmax(1))

    def rank(self) -> float:
        """Effective rank of all features."""
        return rankme(torch.cat([self.bank, self.queries]))

    def _accuracy(self, predicted: Tensor) -> float:
        return (predicted == self.labels).sum().item() / len(self.labels)


class Monitor:
    """The worth of a backbone's features, before its training (``start``) and after each epoch; it changes nothing.

    ``knn_office`` and ``linear_office``: of the fine-tuning images, the validation's told by the training's.
    ``rankme``: of the pre-training images, ``params.images`` of them at most, drawn at random; where they have labels
    ``knn_mini`` as well.
    """

    def __init__(self, backbone: nn.Module, mini: Path, office: Path, params: Probes, machine: Machine):
        self._backbone, self._neighbours, self._machine = backbone, params.neighbours, machine
        self._office = [Batches.labelled(office, split, BATCH, machine) for split in ("train", "validation")]
        manifest = Manifest.load(mini)
        self._labelled = bool(manifest.classes)
        chosen = np.random.default_rng(0).permutation(len(manifest.train))[: params.images]
        images = load_array(mini, "train_images")
        labels = load_array(mini, "train_labels") if self._labelled else None
        parts = (np.sort(part) for part in np.split(chosen, [len(chosen) - max(1, len(chosen) // QUERY)]))
        self._mini = [Batches(images[i], labels if labels is None else labels[i], BATCH, machine) for i in parts]
        self.start = self()
        self.columns = tuple(self.start)  # of the history

    def __call__(self) -> Row:
        """The numbers of the backbone as it is now."""
        office, mini = (
            Features.extract(self._backbone, halves, self._machine) for halves in (self._office, self._mini)
        )
        knn_mini = {"knn_mini": mini.knn_accuracy(self._neighbours)} if self._labelled else {}
        knn_office, linear_office = office.knn_accuracy(self._neighbours), office.linear_accuracy()
        return {"knn_office": knn_office, "linear_office": linear_office, **knn_mini, "rankme": mini.rank()}

    def headline(self, rows: list[Row]) -> dict[str, float]:
        """The last epoch's numbers, beside those before the training."""
        last = rows[-1] if rows else self.start
        numbers = {name: round(last[name], 6) for name in (*self.columns, "spread", "collapsed") if name in last}
        if "collapsed" in last:
            numbers["collapsed_epochs"] = sum(row["collapsed"] for row in rows)
        return numbers | {f"{name}_at_start": round(value, 6) for name, value in self.start.items()}
