"""The view that people have: whole lines with the stage's name, and on a terminal the states."""

import os
import pty
import re
from pathlib import Path

import pytest

from hw1.repro.graph import Task
from hw1.repro.screen import Log


@pytest.fixture
def log(tmp_path):
    return Log(Task("finetune@A", Path()), tmp_path / "logs/finetune@A.log")


def write(log, text):
    with open(log.path, "ab") as file:
        file.write(text)


def test_half_a_line_waits_for_its_end_and_the_last_carriage_return_for_the_state(log):
    assert re.fullmatch(r"finetune@A  0:0\d", log.line)
    write(log, b"first\nsec")
    assert log.lines() == ["finetune@A: first"]
    write(log, b"ond\nfinetune@A  epoch 1/2  9 images/s\rfinetune@A  epoch 2/2\rline\n\xff\nthird")
    assert log.lines() == ["finetune@A: second", "finetune@A: line", "finetune@A: \ufffd"]
    assert log.line == "finetune@A  epoch 2/2"
    assert log.lines(last=True) == ["finetune@A: third"]


@pytest.mark.parametrize("seed", ["", "seed 2"])
def test_line_that_names_the_stage_does_not_name_it_twice_and_says_the_seed(seed, tmp_path):
    log = Log(Task("finetune@A", Path(), seed), tmp_path / "log")
    write(log, b"finetune@A  epoch 1/2\nfinetune@AB is another\nfinetune@A: goes on\n")
    name = f"finetune@A {seed}".strip()
    assert log.lines() == [f"{name}  epoch 1/2", f"{name}: finetune@AB is another", f"{name}: goes on"]


def test_terminal_shows_a_line_for_each_stage_and_one_for_all(project):
    project.tell(
        left={"seconds": 60, "until": "seen", "says": "left  epoch 3/3\r"}, right={"seconds": 60, "until": "seen"}
    )
    ours, theirs = pty.openpty()
    process = project.start("--jobs", "2", stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"2 running, 1 waiting, time left not known before a whole run" not in shown:
        shown += os.read(ours, 1 << 16)
    assert re.search(rb"left  0:0\d.*\n.*right  0:0\d.*\n.*1 of 4 stages done", shown)
    (project.folder / "seen").touch()
    try:
        while piece := os.read(ours, 1 << 16):
            shown += piece
    except OSError:  # closed
        pass
    assert process.wait(60) == 0
    assert b"4 stages in 0:" in shown and b"4 ran" in shown
