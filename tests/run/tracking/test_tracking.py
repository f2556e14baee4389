"""Events on disk, and what they are sent as."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from hw1.run.processes.numerics import model
from hw1.run.tracking import surroundings, tracking
from hw1.run.tracking.mlflow_store import Store
from hw1.run.tracking.tracking import Tracker

ROOT = Path(__file__).parents[3]


class Client:
    """What an MLflow client was asked to do about runs of trainings."""

    WHOLE = "the run of all"

    def __init__(self):
        self.calls = []

    def search_runs(self, experiments, query, max_results):
        return []

    def create_run(self, experiment, start_time, tags, run_name):
        if "hw1.repro" in tags:
            return self._run(self.WHOLE)
        assert tags["mlflow.parentRunId"] == self.WHOLE
        self.calls.append(("create", run_name))
        return self._run("r1")

    def _run(self, number):
        return SimpleNamespace(info=SimpleNamespace(run_id=number))

    def update_run(self, run, status):
        assert (run, status) == (self.WHOLE, "RUNNING")

    def log_batch(self, run, metrics, params, tags):
        self.calls += [("param", param.key, param.value) for param in params]
        self.calls += [("metric", metric.key, metric.value, metric.step) for metric in metrics]

    def set_terminated(self, run, status, when):
        if run != self.WHOLE:
            self.calls.append(("end", status))


def events_of(root: Path) -> Path:
    (path,) = (root / ".mlflow").glob("*.jsonl")
    return path


def sent(path: Path) -> list:
    """The calls with which a file is sent."""
    client = Client()
    Store(client, "0").send(path, after_failure=False)
    return client.calls


def test_run_is_sent_with_parameters_curves_and_end(root):
    with Tracker.start("classify@A", {"lr": 0.1}, {}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 0.5})
        tracker.log_epoch({"epoch": 2, "loss": 0.25})
    path = events_of(root)
    assert sent(path) == [
        ("create", "classify@A"),
        ("param", "lr", "0.1"),
        ("metric", "loss", 0.5, 1),
        ("metric", "loss", 0.25, 2),
        ("end", "FINISHED"),
    ]
    assert not path.exists()


def test_run_has_the_tags_by_which_mlflow_fills_its_columns(root, monkeypatch):
    monkeypatch.setattr(surroundings, "_git", lambda *arguments: "abc" if arguments[0] == "rev-parse" else "")
    for stage in ("classify@A", "finetune@C"):
        with Tracker.start(stage, {}, {"device": "cpu"}):
            pass
    starts = [json.loads(path.read_text().split("\n")[0]) for path in sorted((root / ".mlflow").glob("*.jsonl"))]
    tags = starts[1]["tags"]
    assert tags["mlflow.source.name"] == "dvc repro finetune@C" and tags["mlflow.source.git.commit"] == "abc"
    assert tags["mlflow.user"] and "finetune@C" in tags["mlflow.note.content"] and tags["device"] == "cpu"
    assert len({start["tags"]["dvc.run"] for start in starts}) == 1
    assert tags["cpu"].startswith(model()) and tags["version.torch"]


def test_run_of_a_user_without_a_name_is_recorded_by_number(root, monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nameless)
    with Tracker.start("classify@A", {}, {}):
        pass
    assert f'"mlflow.user": "{os.getuid()}"' in events_of(root).read_text()


def test_exception_ends_the_run_as_failed(root):
    with pytest.raises(ValueError), Tracker.start("x", {}, {}):
        raise ValueError
    assert sent(events_of(root))[-1] == ("end", "FAILED")


def test_run_whose_process_is_gone_ends_as_killed(root):
    code = (
        "from hw1.run.tracking.tracking import Tracker; import os; Tracker.start('x', {}, {}); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == -9
    path = events_of(root)
    assert sent(path)[-1] == ("end", "KILLED")
    assert not path.exists()


def test_process_of_another_container_is_seen_to_write_though_its_number_is_none_here(root):
    """A sender in a PID namespace of its own sees no process of the stage's number."""
    Tracker.start("x", {}, {})
    code = "import sys, pathlib; from hw1.run.tracking.tracking import is_written as it; "
    code += "print(it(pathlib.Path(sys.argv[1])))"
    command = ["unshare", "-r", "--fork", "--pid", "--mount-proc", sys.executable, "-c", code, str(events_of(root))]
    if not shutil.which("unshare") or subprocess.run([*command[:5], "true"], capture_output=True).returncode:
        pytest.skip("no PID namespaces here")
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_strangers_process_with_the_number_of_a_killed_stage_does_not_keep_its_run_alive(root):
    with Tracker.start("x", {}, {}) as tracker:
        path = events_of(root)
        os.close(tracker._lock)  # as the kernel does; this very process, of that number, lives
        assert sent(path)[-1] == ("end", "KILLED")
        tracker.on = False


@pytest.mark.parametrize("age, written", [(60, True), (2 * tracking.DOUBT, False)])
def test_without_locks_a_stage_counts_as_writing_for_a_day(age, written, root, monkeypatch):
    Tracker.start("x", {}, {})
    monkeypatch.setattr(tracking, "is_locked", lambda path: None)
    os.utime(events_of(root), (time.time() - age,) * 2)
    assert tracking.is_written(events_of(root)) is written


def test_run_whose_process_lives_stays_open(root):
    Tracker.start("x", {}, {})
    path = events_of(root)
    assert sent(path) == [("create", "x")]
    assert path.exists()


def test_half_a_line_is_left_for_the_next_time(root):
    Tracker.start("x", {}, {})
    path = events_of(root)
    with open(path, "a") as file:
        file.write('{"event": "metrics", "time": 1, "step": 1, "metrics"')
    assert sent(path) == [("create", "x")]
    with open(path, "a") as file:
        file.write(': {"loss": 2.0}}\n')
    assert sent(path) == [("create", "x"), ("metric", "loss", 2.0, 1)]


def test_long_history_is_sent_in_calls_that_mlflow_takes(root, monkeypatch):
    with Tracker.start("x", {"lr": 0.1}, {}) as tracker:
        for epoch in range(1, 1202):
            tracker.log_epoch({"epoch": epoch, "loss": 1.0})
    sizes = []
    monkeypatch.setattr(Client, "log_batch", lambda self, run, *entities: sizes.append(list(map(len, entities))))
    tags = len(json.loads(events_of(root).read_text().splitlines()[0])["tags"])
    sent(events_of(root))
    assert sizes == [[500, 1, tags], [500, 1, tags], [201, 1, tags]]


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
    event = json.loads(events_of(root).read_text().splitlines()[0])
    assert (events_of(root).with_suffix("") / event["files"][0]).read_bytes() == b"png"


@pytest.mark.parametrize("obstacle", ["spool", "events"])
def test_disk_that_takes_no_events_is_told_once_and_raises_nothing(obstacle, root, capsys, monkeypatch):
    if obstacle == "spool":
        (root / ".mlflow").write_text("a file")
    tracker = Tracker.start("x", {}, {})
    if obstacle == "events":
        events_of(root).unlink()
        (root / ".mlflow").rmdir()
    with tracker:
        tracker.log_epoch({"epoch": 1, "loss": 1.0})
        tracker.log_epoch({"epoch": 2, "loss": 1.0})
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.endswith("; going on without MLflow\n")


def test_stage_stopped_by_a_signal_ends_its_run_as_killed(root):
    with pytest.raises(SystemExit), Tracker.start("x", {}, {}):
        raise SystemExit(143)
    assert sent(events_of(root))[-1] == ("end", "KILLED")


def test_line_cut_short_by_a_full_disk_is_passed_over(root):
    with Tracker.start("x", {}, {}) as tracker:
        with open(events_of(root), "a") as file:
            file.write('{"event": "metr')
        tracker.log_epoch({"epoch": 1, "loss": 1.0})
        tracker.log_epoch({"epoch": 2, "loss": 2.0})
    calls = sent(events_of(root))
    assert ("metric", "loss", 2.0, 2) in calls and calls[-1] == ("end", "FINISHED")


def test_resumed_run_has_the_epochs_before_and_says_so(root):
    with Tracker.start("x", {}, {}) as tracker:
        tracker.log_resumption([{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}])
    events = [json.loads(line) for line in events_of(root).read_text().splitlines()]
    assert {"resumed.after_epoch": "2"} in [event.get("tags") for event in events]
    assert [(event["step"], event["metrics"]) for event in events if event["event"] == "metrics"] == [
        (1, {"loss": 3.0}),
        (2, {"loss": 2.0}),
    ]


def test_trouble_is_told_once_a_pipeline(root, capsys, monkeypatch):
    def told():
        with Tracker.start("x", {}, {}):
            pass
        return capsys.readouterr().err.count("\n")

    spool = tracking.spool()
    (spool / "trouble.txt").write_text("MLflow failed: refused")
    assert [told(), told(), told()] == [1, 0, 0]
    monkeypatch.setattr(tracking, "repro", lambda: "1-2")  # another `dvc repro`
    assert [told(), told()] == [1, 0]
    (spool / "trouble.txt").write_text("MLflow failed: a full disk")
    assert [told(), told()] == [1, 0]
