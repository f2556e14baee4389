"""The process that sends: runs under that of their ``dvc repro``, when it sends, and MLflow that fails."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from closure import ROOT
from mlflow_server import runs_in

from hw1.run.files import lock
from hw1.run.tracking import sender, tracking, whereabouts
from hw1.run.tracking.sender import Store, deliver
from hw1.run.tracking.tracking import Tracker

SENDER = [sys.executable, "-m", "hw1.run.tracking.sender"]


def path_of(root: Path) -> Path:
    (path,) = (root / ".mlflow").glob("*.jsonl")
    return path


def train(name: str = "x", losses: tuple[float, ...] = (), **params) -> None:
    with Tracker.start(name, params, {}) as tracker:
        for epoch, loss in enumerate(losses, start=1):
            tracker.log_epoch({"epoch": epoch, "loss": loss})


def report(root: Path) -> None:
    page = root / "index.html"
    page.write_text("the page")
    with Tracker("report") as tracker:
        tracker.log_results([page], {"p1/accuracy/A": 0.5})
    page.unlink()


def repros(store: Store) -> list:
    return store.client.search_runs([store.experiment], "tags.`hw1.repro` LIKE '%'")


def children(store: Store, repro) -> dict[str, str]:
    runs = store.client.search_runs([store.experiment], f"tags.`mlflow.parentRunId` = '{repro.info.run_id}'")
    return {run.info.run_name: run.info.status for run in runs}


def test_one_repro_has_one_parent_with_the_page_and_the_numbers_in_whatever_order_stages_are_sent(
    root, store, monkeypatch
):
    train("classify@A")
    first = path_of(root)
    train("finetune@C")
    report(root)
    hidden = first.rename(root / "hidden")
    assert deliver(root / ".mlflow") == ""
    hidden.rename(first)
    assert deliver(root / ".mlflow") == ""
    (repro,) = repros(store)
    assert children(store, repro) == {"classify@A": "FINISHED", "finetune@C": "FINISHED"}
    assert repro.info.status == "FINISHED" and repro.data.metrics == {"p1/accuracy/A": 0.5}
    (kept,) = (root / "mlartifacts").rglob("results/index.html")
    assert kept.read_text() == "the page" and repro.info.run_id in kept.parts
    assert store.client.get_experiment(store.experiment).tags["mlflow.experimentKind"] == "custom_model_development"
    monkeypatch.setattr(whereabouts, "repro", lambda: "1-2")  # another `dvc repro`
    train()
    assert deliver(root / ".mlflow") == ""
    assert sorted(len(children(store, repro)) for repro in repros(store)) == [1, 2]


def test_parent_ends_as_the_stage_that_failed_and_runs_while_one_trains(root, store):
    Tracker.start("classify@A", {}, {})
    assert deliver(root / ".mlflow") == ""
    assert repros(store)[0].info.status == "RUNNING"
    with pytest.raises(ValueError), Tracker.start("finetune@C", {}, {}):
        raise ValueError
    assert deliver(root / ".mlflow") == ""
    assert repros(store)[0].info.status == "FAILED"


@pytest.mark.parametrize("method", ["create_run", "log_batch", "set_terminated", "log_artifacts"])
def test_what_is_sent_in_part_and_then_again_is_there_once(method, root, store, deliver_until):
    train(losses=(0.5, 0.25), lr=0.1)
    report(root)
    deliver_until(method)
    assert deliver(root / ".mlflow") == ""
    run = {"name": "x", "status": "FINISHED", "metrics": [("loss", 1, 0.5), ("loss", 2, 0.25)]}
    assert runs_in(root / "mlflow.db") == [run]
    assert repros(store)[0].data.metrics == {"p1/accuracy/A": 0.5}
    assert len(list((root / "mlartifacts").rglob("index.html"))) == 1
    assert not list((root / ".mlflow").glob("*.jsonl")) and not list((root / ".mlflow").glob("*/"))


def test_file_that_mlflow_refuses_does_not_hold_up_the_others(root, store):
    train("bad", **{"key with a ? in it": 1})
    bad = path_of(root)
    train("good")
    assert "key with a" in deliver(root / ".mlflow")
    assert [run["name"] for run in runs_in(root / "mlflow.db") if run["status"] == "FINISHED"] == ["good"]
    assert path_of(root) == bad


def test_pictures_are_kept_and_wait_for_a_run_that_could_not_be_sent(root, store, monkeypatch, tmp_path):
    history, picture = tmp_path / "h.csv", tmp_path / "p.png"
    history.write_text("epoch\n")
    picture.write_bytes(b"png")
    with Tracker.start("x", {}, {}) as tracker:
        tracker.log_history(history)
    with Tracker("plots") as tracker:
        tracker.log_pictures(history, [picture])
    picture.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(type(store.client), "create_run", Mock(side_effect=ConnectionError("the server died")))
        assert deliver(root / ".mlflow") == "MLflow failed: the server died"
    assert deliver(root / ".mlflow") == ""
    assert [path.read_bytes() for path in (root / "mlartifacts").rglob("p.png")] == [b"png"]


WORKER = """
import sys
import test_sender
for number in range(10):
    test_sender.train(f"{sys.argv[1]}{number}", [1.0, 0.5, 0.25])
"""


def test_two_workers_and_their_senders_lose_nothing(root):
    folders = (ROOT, ROOT / "tests", Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, name], cwd=root, env=environment) for name in "ab"]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    subprocess.run(SENDER, cwd=root, env=environment, check=True, timeout=120)
    curve = [("loss", 1, 1.0), ("loss", 2, 0.5), ("loss", 3, 0.25)]
    assert runs_in(root / "mlflow.db") == [
        {"name": f"{worker}{number}", "status": "FINISHED", "metrics": curve} for worker in "ab" for number in range(10)
    ]


@pytest.fixture
def waiting(root, monkeypatch):
    """Runs a sender that waits, on made-up time, beside one run; returns when it delivered, in seconds."""
    Tracker.start("x", {}, {})
    path, clock, delivered = path_of(root), SimpleNamespace(now=0.0), []

    def until(writes: float, failure: str = "") -> list[float]:
        def deliver(folder):
            delivered.append(clock.now)
            if clock.now >= writes and not failure:
                path.unlink()
            return failure

        monkeypatch.setattr(sender, "is_written", lambda events: clock.now < writes)
        monkeypatch.setattr(sender, "deliver", deliver)
        sender.main()
        return delivered

    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    monkeypatch.setattr(sender, "time", clock)
    monkeypatch.setattr(sender.os, "nice", lambda step: None)
    monkeypatch.setattr(sys, "argv", ["sender", "--wait"])
    return until


# Out of a training's way, counted from the last look that saw it write; a long one is sent as it goes.
@pytest.mark.parametrize("writes, deliveries", [(100, [100 + sender.QUIET - sender.POLL]), (700, [300, 600, 709])])
def test_sender_sends_when_no_stage_writes_and_every_five_minutes(writes, deliveries, waiting):
    assert waiting(writes) == deliveries


def test_sender_leaves_the_stages_to_one_that_waits_already_and_says_why_it_fails(waiting, root):
    with open(root / ".mlflow/waiting.lock", "w") as other:
        lock(other.fileno())
        assert waiting(writes=100) == []
    with pytest.raises(SystemExit, match="tracking: MLflow failed: refused; the runs are kept in"):
        waiting(writes=1000, failure="MLflow failed: refused")


@pytest.mark.parametrize("hangs", [True, False])
def test_server_that_hangs_or_refuses_costs_a_line_and_loses_nothing(hangs, root):
    train(losses=(1.0,))
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, never answers
        uri = f"http://me:secret@127.0.0.1:{server.getsockname()[1] if hangs else 9}"
        variables = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(SENDER, cwd=root, env=os.environ | variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and path_of(root).exists()
    assert done.stderr.count("\n") == 1 and "the runs are kept in" in done.stderr and "secret" not in done.stderr
    assert (root / ".mlflow/trouble.txt").exists()
    assert deliver(root / ".mlflow") == ""
    assert [run["name"] for run in runs_in(root / "mlflow.db")] == ["x"]
    assert not (root / ".mlflow/trouble.txt").exists()


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
    run = {"name": "x", "status": "FINISHED", "metrics": [("loss", 1, 3.0), ("loss", 2, 2.0), ("loss", 3, 1.0)]}
    assert runs_in(server.folder / "server.db") == [run]
    assert not list((root / ".mlflow").glob("*.jsonl"))


def test_deleted_experiment_is_told_with_the_command_that_brings_it_back(root, store):
    store.client.delete_experiment(store.experiment)
    train()
    (advice,) = re.findall("`mlflow (.+?)`", deliver(root / ".mlflow"))
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow.db'}"}
    subprocess.check_output([sys.executable, "-m", "mlflow", *advice.split()], env=environment)
    assert deliver(root / ".mlflow") == ""
    assert [run["name"] for run in runs_in(root / "mlflow.db")] == ["x"]


def test_nothing_to_send_asks_no_server_and_an_address_without_a_scheme_is_told_with_one(root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Store, "connect", None)
        assert deliver(tracking.spool()) == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "127.0.0.1:5000")
    train()
    assert deliver(root / ".mlflow").endswith("127.0.0.1:5000 is no address; write http://127.0.0.1:5000")
