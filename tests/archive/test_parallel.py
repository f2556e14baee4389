"""Mapping over threads: order, bounds, errors, end."""

import itertools
import threading

import pytest

from hw1.archive import pictures
from hw1.archive.pictures import in_threads


@pytest.mark.parametrize("count", [0, 1, 7, 100])
@pytest.mark.parametrize("chunk", [1, 8])
def test_results_come_in_order(count, chunk):
    assert list(in_threads(lambda number: number**2, range(count), chunk)) == [number**2 for number in range(count)]


def test_items_are_worked_on_by_other_threads():
    assert threading.get_ident() not in set(in_threads(lambda _: threading.get_ident(), range(100), 1))


def test_no_more_than_a_bounded_number_of_items_is_taken_ahead(monkeypatch):
    monkeypatch.setattr(pictures, "cores", lambda: 2)
    taken = []
    results = in_threads(lambda item: item, (taken.append(number) or number for number in itertools.count()), 3)
    assert next(results) == 0
    assert len(taken) == 2 * pictures.AHEAD * 3
    results.close()


def test_error_comes_after_the_results_before_it_and_ends():
    def double(number):
        if number == 5:
            raise ValueError("five")
        return 2 * number

    results = in_threads(double, range(10), 1)
    assert list(itertools.islice(results, 5)) == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="five"):
        next(results)
