"""Which models share a bar in the drawing of the ranking."""

import pytest

from hw1.report.figures import groups


@pytest.mark.parametrize(
    "apart, expected",
    [
        ("", ["ABCD"]),
        ("AB AC AD BC BD CD", []),
        ("AC AD BD", ["AB", "BC", "CD"]),  # bars that overlap
        ("AB AC AD", ["BCD"]),
        ("AD", ["ABC", "BCD"]),
        ("BC", ["AB", "CD"]),  # A and D are not told apart, but what lies between them is
    ],
)
def test_bars_are_the_longest_runs_of_which_no_pair_is_told_apart(apart, expected):
    pairs = {frozenset(pair) for pair in apart.split()}
    assert groups("ABCD", lambda one, two: frozenset({one, two}) in pairs) == [tuple(run) for run in expected]
