"""Progress on a terminal and in a log file, with a clock set by hand."""

import io
import subprocess
import sys
from types import SimpleNamespace

import pytest
import tqdm.std
from closure import ROOT

from hw1.run import progress as module
from hw1.run.progress import Progress


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.isatty = lambda: terminal


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(tqdm.std, "time", lambda: clock.now)
    return clock


def progress(terminal, stage="classify@A", epochs=3, **before):
    stream = Stream(terminal)
    return Progress(stage, epochs=epochs, images=100, stream=stream, **before), stream


ROW = {"epoch": 1, "lr": 0.1, "train_loss": 0.51239, "val_accuracy": 0.25}
# 100 images in 50 s, 200 to go
LINE = "classify@A  epoch 1/3  train_loss 0.5124  val_accuracy 0.25  2 images/s  1:40 left\n"


def test_log_gets_one_plain_line_per_epoch_with_speed_and_time_left_without_tqdm(clock, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    shown, stream = progress(terminal=False)
    for _ in range(4):
        clock.now += 12.5
        shown.count(25)
    assert stream.getvalue() == ""
    shown.epoch(ROW)
    assert stream.getvalue() == LINE


def test_terminal_gets_a_bar_that_the_next_one_and_the_line_of_an_epoch_overwrite(clock):
    shown, stream = progress(terminal=True)
    for images in (25, 75):
        clock.now += 25
        shown.count(images)
    first, second = stream.getvalue().split("\r")[2:]  # after nothing, and the bar at its beginning
    assert first.startswith("classify@A  epoch 1/3:   8%|") and "| 25/300 [00:25<04:35," in first  # 275 at 1 a second
    assert second.startswith("classify@A  epoch 2/3:  33%|")
    assert second.rstrip().endswith("| 100/300 [00:50<01:40,  2.00 images/s]")  # 200 to go
    assert "\n" not in stream.getvalue()
    shown.epoch(ROW)
    *_, blank, line = stream.getvalue().split("\r")
    assert blank.isspace() and len(blank) >= len(second.rstrip()) and line == LINE


def test_training_that_goes_on_counts_from_where_it_was(clock):
    (bar, terminal), (shown, log) = (progress(terminal, "x", done=150, seconds=60.0) for terminal in (True, False))
    shown.resumed(1, 2)
    clock.now += 10
    bar.count(50)
    shown.count(50)
    shown.epoch({"epoch": 2, "lr": 0.1})
    assert log.getvalue() == "x: goes on after epoch 1/3, step 2\nx  epoch 2/3    5 images/s  0:20 left\n"
    assert shown.seconds == 70.0
    before, after = terminal.getvalue().split("\r")[1:]
    assert before.startswith("x  epoch 2/3:  50%|")
    assert after.startswith("x  epoch 3/3:  67%|") and "| 200/300 [00:10<00:20," in after  # 100 at this process's 5


def test_speed_of_the_processes_before_stands_in_until_something_is_trained(clock):
    shown, stream = progress(False, "x", epochs=2, done=100, seconds=50.0)
    shown.epoch({"epoch": 1, "lr": 0.1})
    assert stream.getvalue() == "x  epoch 1/2    2 images/s  0:50 left\n"


def test_reader_that_is_gone_does_not_end_the_training():
    code = """
import sys
from hw1.run.progress import Progress
shown = Progress("x", epochs=2, images=100)
sys.stdin.readline()
for epoch in (1, 2):
    shown.count(100)
    shown.epoch({"epoch": epoch, "lr": 0.1})
print("done", file=sys.stderr)
"""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **pipes)
    process.stdout.close()
    _, told = process.communicate(b"go on\n", timeout=30)
    assert (process.returncode, told) == (0, b"done\n")


@pytest.mark.parametrize("seconds, text", [(0.4, "0:00"), (67, "1:07"), (7384, "2:03:04")])
def test_time_is_written_as_a_clock_shows_it(seconds, text):
    assert module.clock(seconds) == text
