"""What every test wants: no tracking of its stages, torch on one thread, and the longest files first.

On a busy machine threads that step together wait for the slower one at every operation of tiny tensors.
"""

import os

import pytest

os.environ["HW1_TRACKING"] = "off"
os.environ["OMP_NUM_THREADS"] = "1"


# They take longest.
FIRST = ("test_pipeline.py", "test_launch.py", "test_tracking.py", "test_ranks.py", "test_checkpoint.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long before those that are done at once, so that no core is idle in the end."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))
