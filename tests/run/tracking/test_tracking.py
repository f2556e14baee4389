"""Events on disk, and what they are sent as."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from closure import ROOT

from hw1.run.processes.numerics import model
from hw1.run.tracking import tracking, whereabouts
from hw1.run.tracking.sender import Store
from hw1.run.tracking.tracking import Tracker


def path_of(root: Path) -> Path:
    (path,) = (root / ".mlflow").glob("*.jsonl")
    return path


def events_of(root: Path, kind: str = "") -> list[dict]:
    events = map(json.loads, path_of(root).read_text().splitlines())
    return [event for event in events if event["event"] == (kind or event["event"])]


def sent(path: Path) -> dict:
    """The numbers that a file is sent as, by name and step, and how its run ends."""

    def create_run(experiment, began, tags, name):
        assert "hw1.repro" in tags or tags["mlflow.parentRunId"] == "the run of all"
        return SimpleNamespace(info=SimpleNamespace(run_id="the run of all" if "hw1.repro" in tags else name))

    client = Mock(create_run=create_run, **{"search_runs.return_value": []})
    Store(client, "0").send(path, after_failure=False)
    batches = [call.args[1:] for call in client.log_batch.call_args_list]
    ends = {call.args[:2] for call in client.set_terminated.call_args_list} - {("the run of all", "FINISHED")}
    return {
        "params": {param.key: param.value for _, params, _ in batches for param in params},
        "metrics": {(metric.key, metric.step): metric.value for metrics, *_ in batches for metric in metrics},
        "sizes": [len(metrics) for metrics, *_ in batches],
        "status": {status for _, status in ends},
    }


def test_run_is_sent_with_parameters_curves_and_end_in_calls_that_mlflow_takes(root):
    with Tracker.start("classify@A", {"lr": 0.1}, {}) as tracker:
        tracker.log_resumption([{"epoch": 1, "loss": 0.5}])
        for epoch in range(2, 1202):
            tracker.log_epoch({"epoch": epoch, "loss": 1 / epoch})
    assert {"resumed.after_epoch": "1"} in [event["tags"] for event in events_of(root, "tags")]
    path, curve = path_of(root), {("loss", 1): 0.5} | {("loss", epoch): 1 / epoch for epoch in range(2, 1202)}
    run = {"params": {"lr": "0.1"}, "metrics": curve, "sizes": [500, 500, 201], "status": {"FINISHED"}}
    assert sent(path) == run and not path.exists()


def test_run_has_the_tags_by_which_mlflow_fills_its_columns(root, monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr(whereabouts, "_git", lambda *arguments: "abc" if arguments[0] == "rev-parse" else "")
    with Tracker.start("finetune@C", {}, {"device": "cpu"}):
        pass
    tags = events_of(root)[0]["tags"]
    assert tags["mlflow.source.name"] == "dvc repro finetune@C" and tags["mlflow.source.git.commit"] == "abc"
    assert tags["mlflow.user"] == str(os.getuid()) and "finetune@C" in tags["mlflow.note.content"]
    assert tags["cpu"].startswith(model()) and tags["device"] == "cpu" and tags["version.torch"] and tags["dvc.run"]


@pytest.mark.parametrize("error, status", [(ValueError, "FAILED"), (SystemExit, "KILLED")])
def test_run_ends_as_its_stage(error, status, root):
    with pytest.raises(error), Tracker.start("x", {}, {}):
        raise error
    assert sent(path_of(root))["status"] == {status}


def test_run_whose_process_is_gone_ends_as_killed(root):
    code = "import os, hw1.run.tracking.tracking as t; t.Tracker.start('x', {}, {}); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == -9
    path = path_of(root)
    assert sent(path)["status"] == {"KILLED"} and not path.exists()


def test_strangers_process_with_the_number_of_a_killed_stage_does_not_keep_its_run_alive(root):
    with Tracker.start("x", {}, {}) as tracker:
        assert sent(path_of(root))["status"] == set() and path_of(root).exists()
        os.close(tracker._lock)  # as the kernel does; this very process, of that number, lives
        assert sent(path_of(root))["status"] == {"KILLED"}
        tracker.on = False


def test_process_of_another_container_is_seen_to_write_though_its_number_is_none_here(root):
    """A sender in a PID namespace of its own sees no process of the stage's number."""
    Tracker.start("x", {}, {})
    code = "import sys, pathlib; from hw1.run.tracking.tracking import is_written; "
    code += "print(is_written(pathlib.Path(sys.argv[1])))"
    command = ["unshare", "-r", "--fork", "--pid", "--mount-proc", sys.executable, "-c", code, str(path_of(root))]
    if not shutil.which("unshare") or subprocess.run([*command[:5], "true"], capture_output=True).returncode:
        pytest.skip("no PID namespaces here")
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("age, written", [(60, True), (2 * tracking.DOUBT, False)])
def test_without_locks_a_stage_counts_as_writing_for_a_day(age, written, root, monkeypatch):
    Tracker.start("x", {}, {})
    monkeypatch.setattr(tracking, "is_locked", lambda path: None)
    os.utime(path_of(root), (time.time() - age,) * 2)
    assert tracking.is_written(path_of(root)) is written


def test_half_a_line_is_left_for_the_next_time_and_one_cut_short_by_a_full_disk_passed_over(root):
    tracker = Tracker.start("x", {}, {})
    with open(path_of(root), "a") as file:
        file.write('{"event": "metrics", "time": 1, "step": 1, "metrics"')
    assert sent(path_of(root))["metrics"] == {}
    with open(path_of(root), "a") as file:
        file.write(': {"loss": 3.0}}\n{"event": "metr\n')
    with tracker:
        tracker.log_epoch({"epoch": 2, "loss": 2.0})
    assert sent(path_of(root))["metrics"] == {("loss", 1): 3.0, ("loss", 2): 2.0}


def test_tracking_off_writes_nothing(root, monkeypatch):
    monkeypatch.setenv("HW1_TRACKING", "off")
    with Tracker.start("x", {}, {}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 1.0})
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("obstacle", ["spool", "events"])
def test_disk_that_takes_no_events_is_told_once_and_raises_nothing(obstacle, root, capsys):
    if obstacle == "spool":
        (root / ".mlflow").write_text("a file")
    tracker = Tracker.start("x", {}, {})
    if obstacle == "events":
        shutil.rmtree(root / ".mlflow")
    with tracker:
        for epoch in (1, 2):
            tracker.log_epoch({"epoch": epoch, "loss": 1.0})
    output = capsys.readouterr().err
    assert output.count("\n") == 1 and output.endswith("; going on without MLflow\n")


def test_trouble_is_told_once_a_pipeline(root, capsys, monkeypatch):
    def lines():
        with Tracker.start("x", {}, {}):
            pass
        return capsys.readouterr().err.count("send them with `python -m hw1.run.tracking.sender`\n")

    trouble = tracking.spool() / "trouble.txt"
    trouble.write_text("MLflow failed: refused")
    assert [lines(), lines(), lines()] == [1, 0, 0]
    monkeypatch.setattr(tracking, "repro", lambda: "1-2")  # another `dvc repro`
    assert [lines(), lines()] == [1, 0]
    trouble.write_text("MLflow failed: a full disk")
    assert [lines(), lines()] == [1, 0]


LOCK = """stages:
  classify@A: {cmd: python, deps: [{path: data/p1, hash: md5, md5: 0000000000000000000000000000old0.dir}]}
  prepare@p1: {cmd: python, outs: [{path: data/p1, hash: md5, md5: ddf3438785598e60a9babecd93ebbbbb.dir}]}
"""
HASH = "ddf3438785598e60a9babecd93ebbbbb"
MANIFEST = "44136fa355b3678a1146ad16f7e8649e"  # SHA-256 of {}


@pytest.mark.parametrize("lock, digest", [(LOCK, HASH), ("no lock", MANIFEST), ("", MANIFEST)])
def test_data_have_dvcs_hash_where_dvc_started_the_stage_and_the_manifests_elsewhere(lock, digest, root, monkeypatch):
    monkeypatch.chdir(root)
    part = Path("data/p1")
    part.mkdir(parents=True)
    (part / "manifest.json").write_text("{}")
    Path("dvc.lock").write_text(lock or LOCK)
    if lock:
        monkeypatch.setenv("DVC_STAGE", "classify@A")
    with Tracker.start("classify@A", {}, {}) as tracker:
        tracker.log_dataset(part, "synthetic", {"train": 600, "validation": 0}, trained_on=True)
        tracker.log_dataset(part, "synthetic", {"train": 6, "validation": 8}, trained_on=False)  # a probe of BYOL
    first, *others = events_of(root, "dataset")
    assert (first["name"], first["digest"], first["context"]) == ("p1-train", digest, "training")
    assert json.loads(first["source"]) == {"uri": "data/p1", "origin": "synthetic"}
    assert json.loads(first["profile"]) == {"num_rows": 600}
    assert [event["context"] for event in others] == ["validation", "validation"]
