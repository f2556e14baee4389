"""The process that sends: when it does, and MLflow that fails."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow_server import runs_in

from hw1.run.files import lock
from hw1.run.tracking import sender, tracking
from hw1.run.tracking.mlflow_store import Store
from hw1.run.tracking.sender import deliver
from hw1.run.tracking.tracking import Tracker

ROOT = Path(__file__).parents[3]


def events_of(root: Path) -> Path:
    (path,) = (root / ".mlflow").glob("*.jsonl")
    return path


def test_experiment_opens_as_one_of_trainings_and_keeps_what_a_user_chose(root, store):
    client, number = store.client, store.experiment
    assert client.get_experiment(number).tags["mlflow.experimentKind"] == "custom_model_development"
    client.set_experiment_tag(number, "mlflow.experimentKind", "finetuning")
    Store.connect(root)
    assert client.get_experiment(number).tags["mlflow.experimentKind"] == "finetuning"


@pytest.mark.parametrize("method", ["create_run", "log_batch", "set_terminated"])
def test_file_sent_in_part_and_then_again_makes_one_run(method, root, store, monkeypatch):
    with Tracker.start("x", {"lr": 0.1}, {"device": "cpu"}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 0.5})
        tracker.log_epoch({"epoch": 2, "loss": 0.25})
    original = getattr(store.client, method)

    def dies_after(*arguments, **options):
        original(*arguments, **options)
        raise ConnectionError("the server died")

    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(store.client, method, dies_after)
        store.send(events_of(root), after_failure=False)
    assert deliver(root / ".mlflow") == ""
    whole = {"name": "x", "status": "FINISHED", "metrics": [("loss", 1, 0.5), ("loss", 2, 0.25)]}
    assert runs_in(root / "mlflow.db") == [whole]
    assert not list((root / ".mlflow").glob("*.jsonl"))


def test_file_that_mlflow_refuses_does_not_hold_up_the_others(root, store):
    with Tracker.start("bad", {"key with a ? in it": 1}, {}):
        pass
    bad = events_of(root)
    with Tracker.start("good", {}, {}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 0.5})
    assert "key with a" in deliver(root / ".mlflow")
    assert [run["name"] for run in runs_in(root / "mlflow.db") if run["status"] == "FINISHED"] == ["good"]
    assert events_of(root) == bad


def test_pictures_wait_for_a_run_that_could_not_be_sent(root, store, monkeypatch, tmp_path):
    history, picture = tmp_path / "h.csv", tmp_path / "p.png"
    history.write_text("epoch\n")
    picture.write_bytes(b"png")
    with Tracker.start("x", {}, {}) as tracker:
        tracker.log_history(history)
    with Tracker("plots") as tracker:
        tracker.log_pictures(history, [picture])
    send = Store.send
    first = min((root / ".mlflow").glob("*.jsonl"))

    def refused(self, events, after_failure):
        if events == first:
            raise ConnectionError("refused")
        send(self, events, after_failure)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "send", refused)
        assert deliver(root / ".mlflow") == "MLflow failed: refused"
    assert deliver(root / ".mlflow") == ""
    assert [path.read_bytes() for path in (root / "mlartifacts").rglob("p.png")] == [b"png"]


WORKER = """
import sys
from hw1.run.tracking.tracking import Tracker
for number in range(10):
    with Tracker.start(f"{sys.argv[1]}{number}", {"lr": 0.1}, {}) as tracker:
        for epoch in range(1, 6):
            tracker.log_epoch({"epoch": epoch, "loss": 1 / epoch})
"""


def test_two_workers_and_their_senders_lose_nothing(root):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, name], cwd=root, env=environment) for name in "ab"]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    subprocess.run(
        [sys.executable, "-m", "hw1.run.tracking.sender"], cwd=root, env=environment, check=True, timeout=120
    )
    runs = runs_in(root / "mlflow.db")
    assert [run["name"] for run in runs] == [f"{worker}{number}" for worker in "ab" for number in range(10)]
    curve = [("loss", epoch, pytest.approx(1 / epoch)) for epoch in range(1, 6)]
    for run in runs:
        assert run["metrics"] == curve and run["status"] == "FINISHED"


# -- when a waiting sender sends


@pytest.fixture
def waiting(root, monkeypatch):
    """Runs a sender that waits, on made-up time, beside one run; returns when it delivered, in seconds."""
    Tracker.start("x", {}, {})
    path, now, delivered = events_of(root), 0.0, []

    def sleep(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(sender, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(sender.os, "nice", lambda step: None)
    monkeypatch.setattr(sys, "argv", ["sender", "--wait"])

    def until(writes: float, failure: str = "") -> list[float]:
        def deliver(folder):
            delivered.append(now)
            if now >= writes and not failure:
                path.unlink()
            return failure

        monkeypatch.setattr(sender, "is_written", lambda events: now < writes)
        monkeypatch.setattr(sender, "deliver", deliver)
        sender.main()
        return delivered

    return until


def test_sender_stays_out_of_the_way_of_a_training(waiting):
    assert waiting(writes=100) == [100 + sender.QUIET - sender.POLL]  # counted from the last look that saw it write


def test_sender_sends_a_long_training_as_it_goes(waiting):
    assert waiting(writes=700) == [300, 600, 709]


def test_sender_that_fails_ends_and_says_why(waiting):
    with pytest.raises(SystemExit, match="tracking: MLflow failed: refused; the runs are kept in"):
        waiting(writes=1000, failure="MLflow failed: refused")


def test_sender_leaves_the_stages_to_one_that_waits_already(waiting, root):
    with open(root / ".mlflow/waiting.lock", "w") as other:
        lock(other.fileno())
        assert waiting(writes=100) == []


# -- servers and disks that fail


def send(root, uri, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "hw1.run.tracking.sender"],
        cwd=root,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "the runs are kept in" in done.stderr


def test_server_that_hangs_leaves_the_run_on_disk(root):
    with Tracker.start("x", {}, {}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 1.0})
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, never answers
        send(root, f"http://127.0.0.1:{server.getsockname()[1]}", MLFLOW_HTTP_REQUEST_TIMEOUT="1")
    assert events_of(root).exists()


def test_next_sender_forgets_the_trouble_of_one_that_failed(root, monkeypatch):
    with Tracker.start("x", {}, {}):
        pass
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        told = deliver(root / ".mlflow")
    assert "Connection refused" in told and (root / ".mlflow/trouble.txt").read_text() == told
    assert deliver(root / ".mlflow") == ""
    assert not (root / ".mlflow/trouble.txt").exists()
    assert [run["name"] for run in runs_in(root / "mlflow.db")] == ["x"]


@pytest.mark.parametrize(
    "error, told",
    [
        ("request to http://name:secret@host:9/api failed with code 401", "request to http://host:9/api failed with"),
        ("request to http://name:secret@host failed (Caused by Refused('host'))", "Refused('host'))"),
        ("first line\nsecond", "first line"),
        ("", "ConnectionError"),
    ],
)
def test_failure_is_told_in_a_line_without_a_servers_password(error, told, root, monkeypatch):
    def refuse(folder):
        raise ConnectionError(error)

    with Tracker.start("x", {}, {}):
        pass
    monkeypatch.setattr(Store, "connect", refuse)
    line = deliver(root / ".mlflow")
    assert line.startswith(f"MLflow failed: {told}") and "secret" not in line and "\n" not in line


def test_deleted_experiment_is_told_with_what_brings_it_back(root, store):
    store.client.delete_experiment(store.experiment)
    with Tracker.start("x", {}, {}):
        pass
    told = deliver(root / ".mlflow")
    (advice,) = re.findall("`mlflow (.+?)`", told)
    command = [sys.executable, "-m", "mlflow", *advice.split()]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert deliver(root / ".mlflow") == ""
    assert [run["name"] for run in runs_in(root / "mlflow.db")] == ["x"]


def test_address_without_a_scheme_is_told_with_one(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "127.0.0.1:5000")
    with Tracker.start("x", {}, {}):
        pass
    assert deliver(root / ".mlflow").endswith("127.0.0.1:5000 is no address; write http://127.0.0.1:5000")


def test_nothing_to_send_asks_no_server(root, monkeypatch):
    monkeypatch.setattr(Store, "connect", None)
    assert deliver(tracking.spool()) == ""


def test_server_that_refuses_leaves_the_run_on_disk_and_says_so_in_one_line(root, capsys):
    with Tracker.start("x", {}, {}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 1.0})
    send(root, "http://127.0.0.1:9")
    assert events_of(root).exists()
    with Tracker.start("y", {}, {}):
        pass
    assert "send them with `python -m hw1.run.tracking.sender`" in capsys.readouterr().err


def test_server_that_dies_in_mid_run_gets_the_rest_from_the_next_sender(root, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with Tracker.start("x", {"lr": 0.1}, {}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 3.0})
        assert deliver(root / ".mlflow") == ""
        server.kill()
        tracker.log_epoch({"epoch": 2, "loss": 2.0})
        assert "Connection refused" in deliver(root / ".mlflow")
        tracker.log_epoch({"epoch": 3, "loss": 1.0})
    server.start()
    assert deliver(root / ".mlflow") == ""
    database = server.folder / "server.db"
    assert runs_in(database) == [
        {"name": "x", "status": "FINISHED", "metrics": [("loss", 1, 3.0), ("loss", 2, 2.0), ("loss", 3, 1.0)]}
    ]
    assert not list((root / ".mlflow").glob("*.jsonl"))
