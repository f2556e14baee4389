"""What features are worth: what their nearest neighbours tell, what a linear classifier does, how many count."""

import torch
from torch import Tensor, nn

from hw1.images.kernels import square_root

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
