"""Items made ahead by a thread: order, errors, bounds, end."""

import itertools
import threading
import time

import pytest

from hw1.data.streaming import ahead


def until(holds):
    """Wait for another thread; fail after five seconds."""
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_items_come_in_order_and_end():
    assert list(ahead(iter(range(100)), 3)) == list(range(100))


def test_items_are_made_by_another_thread():
    def items():
        yield threading.get_ident()

    assert list(ahead(items(), 1)) != [threading.get_ident()]


def test_no_more_than_depth_items_wait():
    made = []
    items = ahead((made.append(number) or number for number in itertools.count()), 3)
    assert next(items) == 0
    until(lambda: len(made) == 5)  # one used, three waiting, one that finds no room
    time.sleep(0.05)
    assert len(made) == 5
    assert next(items) == 1
    until(lambda: len(made) == 6)
    items.close()


def test_error_is_raised_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise ValueError("row 3 is broken")

    seen = []
    with pytest.raises(ValueError, match="row 3 is broken"):
        for item in ahead(items(), 5):
            seen.append(item)
    assert seen == [1, 2]


def test_thread_ends_when_the_items_are_not_wanted_any_more():
    before = threading.active_count()
    items = ahead(itertools.count(), 2)
    assert next(items) == 0
    assert threading.active_count() == before + 1
    items.close()
    assert threading.active_count() == before
