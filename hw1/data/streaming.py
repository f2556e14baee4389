"""Work done ahead of its use by a background thread."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
_END = object()
_POLL = 0.1  # seconds after which the thread looks whether its items are still wanted


def ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """The items in their order, made by a background thread that keeps at most ``depth`` of them waiting.

    An error in ``items`` is raised where they are used, after those before it. The thread ends with the
    items, or when the iterator returned is closed.
    """
    waiting: queue.Queue = queue.Queue(depth)  # of items, in the end of _END or an error
    closed = threading.Event()

    def put(entry: object) -> bool:
        while not closed.is_set():
            try:
                waiting.put(entry, timeout=_POLL)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_END)
        except BaseException as error:  # carried over to the thread that uses the items
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed.set()
        thread.join()
