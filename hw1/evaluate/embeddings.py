"""Features in the plane: PCA and t-SNE."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

# t-SNE is run on this many principal components at most (van der Maaten and Hinton 2008, section 4: 30-50).
COMPONENTS = 50


def pca(features: np.ndarray, components: int = 2) -> np.ndarray:
    """First principal components: (N, F) -> (N, at most ``components``) float."""
    components = min(components, *features.shape)
    return PCA(components, svd_solver="randomized", random_state=0).fit_transform(features)


def tsne(features: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """t-SNE from a PCA start: (N, F) -> (N, 2) float32; the perplexity is lowered where N is too small for it."""
    reduced = pca(features, COMPONENTS)
    perplexity = min(perplexity, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
