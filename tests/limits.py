"""Bounds on what a test case may take."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limits(seconds: int, memory: int) -> Iterator[None]:
    """Fail a case after ``seconds``, or if it adds more than ``memory`` bytes to the most this process ever held."""

    def late(*_):
        raise TimeoutError(f"more than {seconds} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    earlier = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < memory
