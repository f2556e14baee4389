"""Features in the plane: PCA and t-SNE."""

import numpy as np
import torch
from sklearn.manifold import TSNE

from hw1.images.kernels import product, square_root

# t-SNE is run on this many principal components at most (van der Maaten and Hinton 2008, section 4: 30-50).
COMPONENTS = 50
START = 1e-4  # deviation of the start's first component, as scikit-learn's init="pca" has it
SAME = 1e-6  # of the largest feature: what differs by less is rounding


def degenerate(features: np.ndarray) -> str:
    """The reason that features (N, F) cannot be shown in a plane, for the end of a sentence; "" if nothing does."""
    if not np.isfinite(features).all():
        return "are not all numbers (NaN or infinite)"
    if np.ptp(features, axis=0).max(initial=0) <= SAME * np.abs(features).max(initial=0):
        return "are the same for all images"
    return ""


def pca(features: np.ndarray, components: int = 2) -> np.ndarray:
    """First principal components: (N, F) -> (N, at most ``components``) float32; zeros of :func:`degenerate` features.

    From the eigenvalues of the smaller matrix of inner products; of each component the largest value is positive.
    scikit-learn's PCA multiplies by NumPy's BLAS, whose last bits differ between CPUs.
    """
    components = min(components, *features.shape)
    if degenerate(features):
        return np.zeros((len(features), components), np.float32)
    rows = torch.from_numpy(features).float()
    rows = rows - rows.mean(0)
    if len(rows) <= rows.shape[1]:
        values, vectors = _largest(product(rows, rows), components)
        plane = vectors * square_root(values.clamp(min=0))
    else:
        columns = rows.T.contiguous()
        _, vectors = _largest(product(columns, columns), components)
        plane = product(rows, vectors.T.float().contiguous()).double()
    largest = plane.gather(0, plane.abs().argmax(0, keepdim=True))
    return (plane * largest.sign()).float().numpy()


def _largest(products: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest ``count`` eigenvalues of a symmetric matrix, falling, and their vectors as columns, float64."""
    values, vectors = torch.linalg.eigh(products.double())
    return values.flip(0)[:count], vectors.flip(1)[:, :count]


def tsne(features: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """t-SNE from a PCA start: (N, F) -> (N, 2) float32; the perplexity is lowered where N is too small for it.

    scikit-learn is given distances and start: its own come from NumPy's BLAS. Zeros of :func:`degenerate` features:
    its tree of equal points ends the process.
    """
    if degenerate(features):
        return np.zeros((len(features), 2), np.float32)
    reduced = pca(features, COMPONENTS)
    start = np.zeros((len(reduced), 2), np.float32)
    start[:, : reduced.shape[1]] = START * reduced[:, :2] / reduced[:, 0].std()
    rows = torch.from_numpy(reduced)
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    perplexity = min(perplexity, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, metric="precomputed", init=start, random_state=seed).fit_transform(distances)
