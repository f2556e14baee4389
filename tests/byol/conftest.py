"""Pictures that the tests of watching a pre-training look at."""

import numpy as np
import pytest
import torch

LABELS = np.arange(64) // 16


@pytest.fixture(autouse=True)
def one_seed_and_thread() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def pictures() -> np.ndarray:
    """Noise with a bright square in the corner that the label names."""
    images = np.random.default_rng(0).integers(0, 80, (64, 16, 16, 3), np.uint8)
    for image, label in zip(images, LABELS, strict=True):
        row, column = divmod(label, 2)
        image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 60
    return images
