"""What every test wants: no tracking of its stages, torch on one thread, and the longest file first.

On a busy machine threads that step together wait for the slower one at every operation of tiny tensors.
"""

import os

import pytest

os.environ["HW1_TRACKING"] = "off"
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pipeline's tests first: they take longer than all others together, which run beside them."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")
