import json
import re
import sys

import pytest
from made_up import P2, write_inputs

from hw1.report import summary
from hw1.run.errors import InputError
from hw1.statistics.evidence import read_intervals


def table(root, wanted=lambda row: True):
    rows = summary.results(summary.read_metrics(root / "metrics"))
    return summary.table(list(filter(wanted, rows)), read_intervals(root / "plots/statistics"))


def test_table_has_an_aligned_line_for_every_model_with_ours_its_interval_best_and_the_report(tmp_path):
    write_inputs(tmp_path, p2=P2 | {"F": 0.5})
    header, *lines = table(tmp_path).splitlines()
    assert [line[:4] for line in lines] == [*("P1 A", "P1 B"), *(f"P2 {key}" for key in "ABCDEF"), "P3 A", "P3 B"]
    cells = ["P1 A", "small CNN", "accuracy", "62.0 %", "58.0 to 66.0", "64.0 (9)", "30.7 %"]
    assert re.split(r"  +", lines[0].strip()) == cells
    assert table(tmp_path, lambda row: row.name == "P2 F").endswith(" -")  # the report has no such setting
    assert {len(line) for line in lines} == {len(header)}


def test_absent_or_broken_metrics_are_one_clear_error(tmp_path):
    with pytest.raises(InputError, match=r"p1\.json: not there; run `dvc repro` first"):
        summary.read_metrics(tmp_path)
    with pytest.raises(InputError, match=r"intervals\.csv: not there; run `dvc repro` first"):
        read_intervals(tmp_path)
    (tmp_path / "p1.json").write_text("{")
    with pytest.raises(InputError, match=r"p1\.json: no JSON"):
        summary.read_metrics(tmp_path)


def test_command_prints_where_the_page_lies_and_which_epoch_it_tells_of(tmp_path, monkeypatch, capsys):
    write_inputs(tmp_path)
    folders = ["--metrics", str(tmp_path / "metrics"), "--statistics", str(tmp_path / "plots/statistics")]
    monkeypatch.setattr(sys, "argv", ["summary", *folders])
    summary.main()
    told = capsys.readouterr().out
    assert told.endswith("page: report/index.html\n") and "flatters" not in told
    metrics = json.loads((tmp_path / "metrics/p1.json").read_text()) | {"keep": "best"}
    (tmp_path / "metrics/p1.json").write_text(json.dumps(metrics))
    summary.main()
    flattered = "ours: the epoch that was best on the same validation images, which flatters it"
    assert flattered in capsys.readouterr().out
