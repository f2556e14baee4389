"""Events on disk, their sender, and MLflow that fails."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hw1.train import tracking
from hw1.train.tracking import Tracker, _Run

ROOT = Path(__file__).parents[2]


class Client:
    """What an MLflow client was asked to do."""

    def __init__(self):
        self.calls = []

    def create_run(self, experiment, when, run_name):
        self.calls.append(("create", run_name))
        return type("Run", (), {"info": type("Info", (), {"run_id": "r1"})})

    def log_batch(self, run, metrics=(), params=(), tags=()):
        self.calls += [("metric", metric.key, metric.value, metric.step) for metric in metrics]
        self.calls += [("param", param.key, param.value) for param in params]

    def set_terminated(self, run, status, when):
        self.calls.append(("end", status))


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A project's root with tracking on and no sender started."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("HW1_TRACKING", raising=False)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(tracking, "_start_sender", lambda folder: None)
    return tmp_path


def events_of(root: Path) -> Path:
    (path,) = (root / ".mlflow").glob("*.jsonl")
    return path


def sent(path: Path) -> tuple[list, _Run]:
    client, run = Client(), _Run(path)
    run.send(client, "0")
    return client.calls, run


def test_run_is_sent_with_parameters_curves_and_end(root):
    with Tracker.start("classify@A", {"lr": 0.1}, {}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 0.5})
        tracker.log_epoch({"epoch": 2, "loss": 0.25})
    calls, run = sent(events_of(root))
    assert calls == [
        ("create", "classify@A"),
        ("param", "lr", "0.1"),
        ("metric", "loss", 0.5, 1),
        ("metric", "loss", 0.25, 2),
        ("end", "FINISHED"),
    ]
    assert run.ended


def test_exception_ends_the_run_as_failed(root):
    with pytest.raises(ValueError), Tracker.start("x", {}, {}):
        raise ValueError
    assert sent(events_of(root))[0][-1] == ("end", "FAILED")


def test_run_whose_process_is_gone_ends_as_killed(root):
    Tracker.start("x", {}, {})
    path = events_of(root)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["pid"] = gone.pid
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    client, run = Client(), _Run(path)
    run.send(client, "0")
    assert not run.ended  # its last events may still have been on their way
    run.send(client, "0")
    assert client.calls[-1] == ("end", "KILLED")


def test_half_a_line_is_left_for_the_next_time(root):
    Tracker.start("x", {}, {})
    path = events_of(root)
    client, run = Client(), _Run(path)
    run.send(client, "0")
    with open(path, "a") as file:
        file.write('{"event": "metrics", "time": 1, "step": 1, "metrics"')
    run.send(client, "0")
    with open(path, "a") as file:
        file.write(': {"loss": 2.0}}\n')
    run.send(client, "0")
    assert ("metric", "loss", 2.0, 1) in client.calls


def test_tracking_off_writes_nothing(root, monkeypatch):
    monkeypatch.setenv("HW1_TRACKING", "off")
    with Tracker.start("x", {}, {}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 1.0})
    assert list(root.iterdir()) == []


def test_pictures_are_copied_before_the_originals_can_go(root, tmp_path):
    history, picture = tmp_path / "h.csv", tmp_path / "p.png"
    history.write_text("epoch\n")
    picture.write_bytes(b"png")
    with Tracker("plots") as tracker:
        tracker.log_pictures(history, [picture])
    picture.unlink()
    event = json.loads(events_of(root).read_text().splitlines()[1])
    assert Path(event["files"][0]).read_bytes() == b"png"


def test_server_that_refuses_leaves_the_run_on_disk_and_says_so_in_one_line(root, capsys):
    with Tracker.start("x", {}, {}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 1.0})
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "hw1.train.tracking"], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1 and time.monotonic() - started < 60
    assert done.stderr.count("\n") == 1 and "the runs are kept in" in done.stderr
    assert events_of(root).exists()
    with Tracker.start("y", {}, {}):
        pass
    assert "send them with `python -m hw1.train.tracking`" in capsys.readouterr().err
