"""Features in the plane: PCA and t-SNE."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

# t-SNE is run on this many principal components at most (van der Maaten and Hinton 2008, section 4: 30-50).
COMPONENTS = 50


SAME = 1e-6  # of the largest feature: what differs by less is rounding


def degenerate(features: np.ndarray) -> str:
    """What keeps features (N, F) from being shown in a plane, for the end of a sentence; "" if nothing does."""
    if not np.isfinite(features).all():
        return "are not all numbers (NaN or infinite)"
    if np.ptp(features, axis=0).max(initial=0) <= SAME * np.abs(features).max(initial=0):
        return "are the same for all images"
    return ""


def pca(features: np.ndarray, components: int = 2) -> np.ndarray:
    """First principal components: (N, F) -> (N, at most ``components``) float; zeros of :func:`degenerate` features."""
    components = min(components, *features.shape)
    if degenerate(features):
        return np.zeros((len(features), components), np.float32)
    return PCA(components, svd_solver="randomized", random_state=0).fit_transform(features)


def tsne(features: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """t-SNE from a PCA start: (N, F) -> (N, 2) float32; the perplexity is lowered where N is too small for it.

    Zeros of :func:`degenerate` features: scikit-learn's tree of equal points ends the process.
    """
    if degenerate(features):
        return np.zeros((len(features), 2), np.float32)
    reduced = pca(features, COMPONENTS)
    perplexity = min(perplexity, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
