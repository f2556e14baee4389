"""Items made ahead by a thread: order, errors, bounds, end; what the kernel is told to read."""

import itertools
import mmap
import threading
import time

import numpy as np
import pytest
import torch

from hw1.images.transfer import Announcement, ahead


def until(holds):
    """Wait for another thread; fail after five seconds."""
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_items_come_in_order_made_by_another_thread_and_end():
    makers = set()
    made = (makers.add(threading.get_ident()) or number for number in range(100))
    assert list(ahead(made, 3)) == list(range(100))
    assert makers and threading.get_ident() not in makers


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


class Map:
    """In the place of a file's map: notes what is announced of it."""

    def __init__(self):
        self.announced = []

    def madvise(self, advice, start, length):
        assert advice == mmap.MADV_WILLNEED and start % mmap.PAGESIZE == 0
        self.announced.append((start, start + length))


def announced(array, rows):
    announcement = Announcement(array)
    announcement._map = Map()
    announcement(torch.tensor(rows))
    return announcement._map.announced


def test_announced_ranges_are_the_rows_wherever_the_array_begins_in_its_file(tmp_path):
    page, row = mmap.PAGESIZE, 3 * mmap.PAGESIZE // 2
    np.save(tmp_path / "array.npy", np.zeros((5, row), np.uint8))
    array = np.load(tmp_path / "array.npy", mmap_mode="r")
    assert 0 < array.offset < page
    fourth = array.offset + 4 * row
    assert announced(array, [4, 0]) == [(fourth // page * page, fourth + row), (0, array.offset + row)]


def test_array_that_does_not_begin_in_its_files_first_page(tmp_path):
    path, offset = tmp_path / "bytes", mmap.ALLOCATIONGRANULARITY + 100
    path.write_bytes(bytes(offset + 40))
    assert announced(np.memmap(path, np.uint8, "r", offset, (4, 10)), [3]) == [(0, 140)]
