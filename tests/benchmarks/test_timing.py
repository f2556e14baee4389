"""The harness of the benchmarks: alternation, missing contestants, tables."""

import json
import os
import time
from functools import partial

import yaml
from closure import ROOT

from benchmarks.overhead import RUNS
from benchmarks.tables import Table, ratio, write
from benchmarks.timing import Speed, race


def logged(name, path, seconds):
    """A contestant that notes each of its rounds, and its process, in a file."""

    def run():
        time.sleep(seconds)
        with open(path, "a") as file:
            file.write(f"{name} {os.getpid()}\n")
        return 10.0

    return run


def absent():
    import no_such_package  # noqa: F401


def test_rounds_alternate_in_processes_of_their_own_after_one_that_does_not_count(tmp_path):
    path = tmp_path / "log"
    contestants = {"quick": partial(logged, "quick", path, 0.0), "slow": partial(logged, "slow", path, 0.05)}
    speeds = race(contestants, rounds=3)
    names, processes = zip(*(line.split() for line in path.read_text().splitlines()), strict=True)
    assert names == ("quick", "slow") * 4
    assert len(set(processes)) == 2
    assert str(os.getpid()) not in processes
    assert [len(speed.rounds) for speed in speeds.values()] == [3, 3]
    assert 0 < speeds["slow"].median < 10 / 0.05


def test_contestant_that_cannot_be_imported_is_named_and_the_others_run(tmp_path):
    speeds = race({"absent": absent, "here": partial(logged, "here", tmp_path / "log", 0.0)}, rounds=1)
    assert speeds["absent"] == Speed((), "not installed: no_such_package")
    assert len(speeds["here"].rounds) == 1


def test_median_and_ratio():
    ours, theirs = Speed((1.0, 9.0, 6.0)), Speed((2.0, 3.0, 4.0))
    assert ours.median == 6
    assert ours.spread == "1-9"
    assert ratio(ours, theirs) == "2.00"
    assert ratio(ours, Speed((), "not installed: x")) == ""


MACHINE = {"machine": "a chip", "torch": "1.2"}


def table_of(title, images_per_second, date="2026-01-02"):
    table = Table(title, ("", "images/s"), note="Two rounds.", date=date)
    table.add("ours", images_per_second)
    return table


def test_tables_are_written_as_markdown_and_json(tmp_path):
    write([table_of("Speed", 3)], MACHINE, tmp_path / "new/cpu")
    text = (tmp_path / "new/cpu.md").read_text()
    assert text.startswith("# a chip\n\ntorch 1.2.\n")
    assert "## Speed\n\n|  | images/s |\n| --- | --- |\n| ours | 3 |\n\nTwo rounds. Measured on 2026-01-02.\n" in text
    content = json.loads((tmp_path / "new/cpu.json").read_text())
    assert content["machine"]["machine"] == "a chip"
    assert content["tables"][0]["rows"] == [["ours", "3"]]


def test_earlier_tables_of_the_same_machine_stay_until_measured_anew(tmp_path):
    write([table_of("Speed", 3), table_of("Growth", 4)], MACHINE, tmp_path / "cpu")
    write([table_of("Speed", 5, date="2026-01-03")], MACHINE, tmp_path / "cpu")
    tables = json.loads((tmp_path / "cpu.json").read_text())["tables"]
    assert [(table["title"], table["rows"], table["date"]) for table in tables] == [
        ("Growth", [["ours", "4"]], "2026-01-02"),
        ("Speed", [["ours", "5"]], "2026-01-03"),
    ]
    assert "| ours | 4 |" in (tmp_path / "cpu.md").read_text()


def test_tables_of_another_version_are_dropped(tmp_path):
    write([table_of("Growth", 4)], MACHINE | {"torch": "1.1"}, tmp_path / "cpu")
    write([table_of("Speed", 5)], MACHINE, tmp_path / "cpu")
    assert [table["title"] for table in json.loads((tmp_path / "cpu.json").read_text())["tables"]] == ["Speed"]


def test_stages_whose_start_is_measured_are_those_of_the_dag():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    runs = {name: len(stage.get("foreach", "1")) for name, stage in stages.items() if name != "finetune"}
    assert runs | {"finetune": 5} == RUNS  # its settings are a table in params.yaml
