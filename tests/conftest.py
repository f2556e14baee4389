"""What every test wants: no tracking of its stages, torch on one thread, and an order that suits two cores.

On a busy machine threads that step together wait for the slower one at every operation of tiny tensors.
"""

import os

import pytest

os.environ["HW1_TRACKING"] = "off"
os.environ["OMP_NUM_THREADS"] = "1"

LAST = ("test_launch.py", "test_ranks.py", "test_slurm.py")  # each test of theirs runs on up to five processes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pipeline's tests first, which take longest; those that need all cores last, not to slow it down."""
    items.sort(key=lambda item: (item.path.name != "test_pipeline.py", item.path.name in LAST))
