import json
import re
import subprocess
import sys

import pytest
from made_up import P2, ROOT, write_inputs

from hw1.report import summary
from hw1.run.errors import InputError
from hw1.statistics.evidence import read_intervals


@pytest.fixture
def lines(tmp_path):
    write_inputs(tmp_path)
    return table(tmp_path).splitlines()


def table(root, wanted=lambda row: True):
    rows = summary.results(summary.read_metrics(root / "metrics"))
    return summary.table(list(filter(wanted, rows)), read_intervals(root / "plots/statistics"))


def test_table_has_a_line_for_every_model(lines):
    names = [line[:4] for line in lines[1:]]
    assert names == ["P1 A", "P1 B", "P2 A", "P2 B", "P2 C", "P2 D", "P2 E", "P3 A", "P3 B"]


def test_line_has_ours_its_interval_best_and_the_report(lines):
    cells = ["P1 A", "small CNN", "accuracy", "62.0 %", "58.0 to 66.0", "64.0 (9)", "30.7 %"]
    assert re.split(r"  +", lines[1].strip()) == cells


def test_lines_are_aligned(lines):
    assert len({len(line) for line in lines}) == 1


def test_setting_without_a_printed_figure_gets_a_dash(tmp_path):
    write_inputs(tmp_path, p2=P2 | {"F": 0.5})
    assert table(tmp_path, lambda row: row.name == "P2 F").endswith(" -")


def test_absent_metrics_are_one_clear_error(tmp_path):
    with pytest.raises(InputError, match=r"p1\.json: not there; run `dvc repro` first"):
        summary.read_metrics(tmp_path)
    with pytest.raises(InputError, match=r"intervals\.csv: not there; run `dvc repro` first"):
        read_intervals(tmp_path)


def test_broken_metrics_are_one_clear_error(tmp_path):
    (tmp_path / "p1.json").write_text("{")
    with pytest.raises(InputError, match=r"p1\.json: no JSON"):
        summary.read_metrics(tmp_path)


def test_command_prints_where_the_page_lies(tmp_path):
    write_inputs(tmp_path)
    folders = ["--metrics", str(tmp_path / "metrics"), "--statistics", str(tmp_path / "plots/statistics")]
    command = [sys.executable, "-m", "hw1.report.summary", *folders]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.endswith("page: report/index.html\n") and "flatters" not in result.stdout
    metrics = json.loads((tmp_path / "metrics/p1.json").read_text()) | {"keep": "best"}
    (tmp_path / "metrics/p1.json").write_text(json.dumps(metrics))
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "ours: the epoch that was best on the same validation images, which flatters it" in result.stdout
