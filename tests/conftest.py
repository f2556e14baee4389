"""What every test wants: no tracking of its stages, torch on one thread, and an order that suits two cores.

On a busy machine threads that step together wait for the slower one at every operation of tiny tensors.
"""

import os
import signal

import pytest

os.environ["HW1_TRACKING"] = "off"
os.environ["OMP_NUM_THREADS"] = "1"
# As in a terminal: under nohup stages would outlive what started them, in a script's background no Ctrl-C reach them.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FIRST = ("test_pipeline.py", "test_interruption.py")  # take longest, one on each core
LAST = ("test_launch.py", "test_ranks.py", "test_slurm.py")  # each test of theirs runs on up to five processes


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file is run by one process, and so are those of the report, which look at the same pictures.

    The pipeline's tests first; those that need all cores last, not to slow it down.
    """
    for item in items:
        name = "report" if item.path.parent.name == "report" else str(item.path)
        item.add_marker(pytest.mark.xdist_group(name))
    items.sort(key=lambda item: (item.path.name not in FIRST, item.path.name in LAST))
