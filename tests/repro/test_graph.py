"""Ways to the end, and how long a graph takes some workers."""

from hw1.repro.graph import makespan, record, recorded, to_the_end

NEEDS = {"source": set(), "left": {"source"}, "right": {"source"}, "join": {"left", "right"}, "alone": set()}
SECONDS = {"source": 1.0, "left": 2.0, "right": 5.0, "join": 3.0, "alone": 4.0}


def test_way_to_the_end_is_the_longest_of_those_after_it():
    assert to_the_end(NEEDS, SECONDS) == {"source": 9, "left": 5, "right": 8, "join": 3, "alone": 4}


def test_makespan_is_that_of_the_longest_way_first():
    # One: all. Two: source and alone; right; left when alone has ended; join after right. More change nothing.
    assert [makespan(NEEDS, SECONDS, workers) for workers in (1, 2, 3, 99)] == [15, 9, 9, 9]
    rest = {name: NEEDS[name] for name in ("left", "right", "join")}
    assert makespan(rest, SECONDS, 2, running={"left": 0.5, "right": 4.0}) == 7
    assert makespan({}, SECONDS, 2) == 0


def test_seconds_are_kept_and_a_broken_file_is_none(tmp_path):
    assert recorded(tmp_path) == {}
    record(tmp_path, {"left": 2.004, "right": 1})
    record(tmp_path, {"left": 3})
    assert recorded(tmp_path) == {"left": 3, "right": 1}
    (tmp_path / ".dvc/tmp/repro/seconds.json").write_text("{")
    assert recorded(tmp_path) == {}
