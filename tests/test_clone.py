"""Things that a clone and its folder may bring along: other packages, other line ends, what editors leave."""

import os
import subprocess
import sys

import pytest
from closure import ROOT


def test_another_package_of_that_name_does_not_come_first(tmp_path):
    (tmp_path / "hw1").mkdir()
    (tmp_path / "hw1/__init__.py").write_text("raise SystemExit('a stranger')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "stages.compare", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "Intervals of every number" in done.stdout, done.stderr


@pytest.mark.parametrize("left", [".ipynb_checkpoints/loop-checkpoint.py", ".DS_Store", ".loop.py.swp", "loop.py~"])
def test_what_editors_leave_in_a_folder_changes_no_stage(left):
    """Neither DVC nor git sees it."""
    name = f"hw1/engine/{left}"
    for command in ([sys.executable, "-m", "dvc", "check-ignore", name], ["git", "check-ignore", name]):
        assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0, command


@pytest.mark.parametrize("name", ["hw1/engine/loop.py", "dvc.lock", "metrics/p2.json", "plots/predictions/p1.csv"])
def test_line_ends_are_those_of_the_commit_whatever_git_is_told(name):
    command = ["git", "-c", "core.autocrlf=true", "check-attr", "text", "eol", "--", name]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == f"{name}: text: auto\n{name}: eol: lf\n"


def test_no_file_of_the_project_has_other_line_ends():
    listed = subprocess.run(["git", "ls-files", "--eol"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line for line in listed.splitlines() if "i/crlf" in line or "i/mixed" in line] == []


@pytest.mark.parametrize("folder, script", [(".", "stages/finetune.py"), ("stages", "report.py")])
def test_script_that_is_started_by_its_path_says_how_it_starts(folder, script):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, script, "C"]
    done = subprocess.run(command, cwd=ROOT / folder, env=environment, capture_output=True, text=True)
    name = script.removeprefix("stages/").removesuffix(".py")
    told = f"error: stages/{name}.py runs from the project's root, as `python -m stages.{name}`\n"
    assert (done.returncode, done.stderr) == (1, told)
