"""A function applied to many things by all cores, in order and a bounded way ahead."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hw1.run.processes.numerics import cores

T, R = TypeVar("T"), TypeVar("R")
AHEAD = 2  # chunks for each thread, at most, that are done or under way before they are wanted


def in_threads(function: Callable[[T], R], items: Iterable[T], chunk: int) -> Iterator[R]:
    """``map`` over threads: for work that leaves the interpreter lock, as Pillow's decoding and resizing does.

    Threads take ``chunk`` items at a time; handing over single small pictures would cost more than they do.
    An error is raised where its item's result would come.
    """
    threads = cores()
    items = iter(items)
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                while len(waiting) < AHEAD * threads and (part := list(itertools.islice(items, chunk))):
                    waiting.append(pool.submit(lambda part: [function(item) for item in part], part))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
