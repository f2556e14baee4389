"""The setting of every test: no tracking of its stages, portable numerics on one thread, an order for two cores.

On a busy machine threads that step together wait for the slower one at every operation of tiny tensors.
"""

import os
import signal

import pytest
from xdist.scheduler import LoadScopeScheduling

from hw1.run.processes.numerics import pin

os.environ["HW1_TRACKING"] = "off"
pin("portable", threads=1)
# As in a terminal: under nohup stages would outlive what started them, in a script's background no Ctrl-C reach them.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FIRST = ("test_pipeline.py", "test_interruption.py")  # take longest, one on each core
LAST = ("test_launch.py", "test_ranks.py", "test_slurm.py")  # each test of theirs runs on up to five processes


class ByFile(LoadScopeScheduling):
    """A file's tests are run by one process, and so are all of the report's, which look at the same pictures, and of
    the fake GPU's, which train on the same data; an emulated CPU has one of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if "emulated" in nodeid:
            return nodeid
        shared = next((name for name in ("report", "fake_gpu") if file.startswith(f"tests/{name}/")), "")
        return shared or file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pipeline's tests first; those that need all cores last, not to slow it down."""
    items.sort(key=lambda item: (item.path.name not in FIRST, item.path.name in LAST))
