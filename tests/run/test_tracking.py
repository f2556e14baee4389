"""Events on disk, their sender, and MLflow that fails."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from hw1.run import sender, tracking
from hw1.run.chip import model
from hw1.run.files import lock
from hw1.run.sender import deliver
from hw1.run.tracking import Tracker

ROOT = Path(__file__).parents[2]


class Client:
    """What an MLflow client was asked to do."""

    def __init__(self):
        self.calls = []

    def search_runs(self, experiments, query, max_results):
        return []

    def create_run(self, experiment, start_time, tags, run_name):
        self.calls.append(("create", run_name))
        return type("Run", (), {"info": type("Info", (), {"run_id": "r1"})})

    def log_batch(self, run, metrics, params, tags):
        self.calls += [("param", param.key, param.value) for param in params]
        self.calls += [("metric", metric.key, metric.value, metric.step) for metric in metrics]

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


def sent(path: Path) -> list:
    """The calls with which a file is sent."""
    client = Client()
    sender._send(client, "0", path, after_failure=False)
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
    monkeypatch.setattr(tracking, "_git", lambda *arguments: "abc" if arguments[0] == "rev-parse" else "")
    for stage in ("classify@A", "finetune@C"):
        with Tracker.start(stage, {}, {"device": "cpu"}):
            pass
    starts = [json.loads(path.read_text().split("\n")[1]) for path in sorted((root / ".mlflow").glob("*.jsonl"))]
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
    Tracker.start("x", {}, {})
    path = events_of(root)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path = path.rename(path.with_name(path.name.replace(f"-{os.getpid()}.", f"-{gone.pid}.")))
    assert sent(path)[-1] == ("end", "KILLED")
    assert not path.exists()


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
    tags = len(json.loads(events_of(root).read_text().splitlines()[1])["tags"])
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
    event = json.loads(events_of(root).read_text().splitlines()[1])
    assert Path(event["files"][0]).read_bytes() == b"png"


# -- MLflow's own client and database


@pytest.fixture
def database(root):
    """A client of a database in the root, and the experiment's number."""
    return sender._connect(root)


def test_experiment_opens_as_one_of_trainings_and_keeps_what_a_user_chose(root, database):
    client, number = database
    assert client.get_experiment(number).tags["mlflow.experimentKind"] == "custom_model_development"
    client.set_experiment_tag(number, "mlflow.experimentKind", "finetuning")
    client, number = sender._connect(root)
    assert client.get_experiment(number).tags["mlflow.experimentKind"] == "finetuning"


def runs_in(database: Path) -> list[dict]:
    """Name, status and metrics (key, step, value) of every run in a database."""
    with sqlite3.connect(database) as db:
        return [
            {
                "name": name,
                "status": status,
                "metrics": sorted(db.execute("select key, step, value from metrics where run_uuid = ?", (run,))),
            }
            for run, name, status in db.execute("select run_uuid, name, status from runs order by name")
        ]


@pytest.mark.parametrize("method", ["create_run", "log_batch", "set_terminated"])
def test_file_sent_in_part_and_then_again_makes_one_run(method, root, database, monkeypatch):
    with Tracker.start("x", {"lr": 0.1}, {"device": "cpu"}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 0.5})
        tracker.log_epoch({"epoch": 2, "loss": 0.25})
    client, experiment = database
    original = getattr(client, method)

    def dies_after(*arguments, **options):
        original(*arguments, **options)
        raise ConnectionError("the server died")

    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(client, method, dies_after)
        sender._send(client, experiment, events_of(root), after_failure=False)
    assert deliver(root / ".mlflow") == ""
    whole = {"name": "x", "status": "FINISHED", "metrics": [("loss", 1, 0.5), ("loss", 2, 0.25)]}
    assert runs_in(root / "mlflow.db") == [whole]
    assert not list((root / ".mlflow").glob("*.jsonl"))


def test_file_that_mlflow_refuses_does_not_hold_up_the_others(root, database):
    with Tracker.start("bad", {"key with a ? in it": 1}, {}):
        pass
    bad = events_of(root)
    with Tracker.start("good", {}, {}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 0.5})
    assert "key with a" in deliver(root / ".mlflow")
    assert [run["name"] for run in runs_in(root / "mlflow.db") if run["status"] == "FINISHED"] == ["good"]
    assert events_of(root) == bad


def test_pictures_wait_for_a_run_that_could_not_be_sent(root, database, monkeypatch, tmp_path):
    history, picture = tmp_path / "h.csv", tmp_path / "p.png"
    history.write_text("epoch\n")
    picture.write_bytes(b"png")
    with Tracker.start("x", {}, {}) as tracker:
        tracker.log_history(history)
    with Tracker("plots") as tracker:
        tracker.log_pictures(history, [picture])
    send = sender._send
    first = min((root / ".mlflow").glob("*.jsonl"))

    def refused(client, experiment, events, after_failure):
        if events == first:
            raise ConnectionError("refused")
        send(client, experiment, events, after_failure)

    with monkeypatch.context() as patch:
        patch.setattr(sender, "_send", refused)
        assert deliver(root / ".mlflow") == "MLflow failed: refused"
    assert deliver(root / ".mlflow") == ""
    assert [path.read_bytes() for path in (root / "mlartifacts").rglob("p.png")] == [b"png"]


WORKER = """
import sys
from hw1.run.tracking import Tracker
for number in range(10):
    with Tracker.start(f"{sys.argv[1]}{number}", {"lr": 0.1}, {}) as tracker:
        for epoch in range(1, 6):
            tracker.log_epoch({"epoch": epoch, "loss": 1 / epoch})
"""


def test_two_workers_and_their_senders_lose_nothing(root):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, name], cwd=root, env=environment) for name in "ab"]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    subprocess.run([sys.executable, "-m", "hw1.run.sender"], cwd=root, env=environment, check=True, timeout=120)
    runs = runs_in(root / "mlflow.db")
    assert [run["name"] for run in runs] == [f"{worker}{number}" for worker in "ab" for number in range(10)]
    curve = [("loss", epoch, pytest.approx(1 / epoch)) for epoch in range(1, 6)]
    assert all(run["metrics"] == curve and run["status"] == "FINISHED" for run in runs)


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
        [sys.executable, "-m", "hw1.run.sender"],
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
    monkeypatch.setattr(sender, "_connect", refuse)
    line = deliver(root / ".mlflow")
    assert line.startswith(f"MLflow failed: {told}") and "secret" not in line and "\n" not in line


def test_nothing_to_send_asks_no_server(root, monkeypatch):
    monkeypatch.setattr(sender, "_connect", None)
    assert deliver(tracking.spool()) == ""


def test_trouble_is_told_once_a_pipeline(root, capsys, monkeypatch):
    def told():
        with Tracker.start("x", {}, {}):
            pass
        return capsys.readouterr().err.count("\n")

    spool = tracking.spool()
    (spool / "trouble.txt").write_text("MLflow failed: refused")
    assert [told(), told(), told()] == [1, 0, 0]
    monkeypatch.setattr(tracking, "ancestors", lambda: [12345])  # another `dvc repro`
    assert [told(), told()] == [1, 0]
    (spool / "trouble.txt").write_text("MLflow failed: a full disk")
    assert [told(), told()] == [1, 0]


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


def test_line_cut_short_by_a_full_disk_is_passed_over(root):
    with Tracker.start("x", {}, {}) as tracker:
        with open(events_of(root), "a") as file:
            file.write('{"event": "metr')
        tracker.log_epoch({"epoch": 1, "loss": 1.0})
        tracker.log_epoch({"epoch": 2, "loss": 2.0})
    calls = sent(events_of(root))
    assert ("metric", "loss", 2.0, 2) in calls and calls[-1] == ("end", "FINISHED")


def test_stage_stopped_by_a_signal_ends_its_run_as_killed(root):
    with pytest.raises(SystemExit), Tracker.start("x", {}, {}):
        raise SystemExit(143)
    assert sent(events_of(root))[-1] == ("end", "KILLED")


def test_resumed_run_has_the_epochs_before_and_says_so(root):
    with Tracker.start("x", {}, {}) as tracker:
        tracker.log_resumption([{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}])
    events = [json.loads(line) for line in events_of(root).read_text().splitlines()]
    assert {"resumed.after_epoch": "2"} in [event.get("tags") for event in events]
    assert [(event["step"], event["metrics"]) for event in events if event["event"] == "metrics"] == [
        (1, {"loss": 3.0}),
        (2, {"loss": 2.0}),
    ]


def test_server_that_refuses_leaves_the_run_on_disk_and_says_so_in_one_line(root, capsys):
    with Tracker.start("x", {}, {}) as tracker:
        tracker.log_epoch({"epoch": 1, "loss": 1.0})
    send(root, "http://127.0.0.1:9")
    assert events_of(root).exists()
    with Tracker.start("y", {}, {}):
        pass
    assert "send them with `python -m hw1.run.sender`" in capsys.readouterr().err


class Server:
    """A real MLflow server on a database of its own."""

    def __init__(self, folder: Path):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.folder = folder
        self.uri = f"http://127.0.0.1:{self.port}"
        folder.mkdir()

    def start(self) -> None:
        with open(self.folder / "log", "a") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///server.db"),
                    *("--workers", "1", "--host", "127.0.0.1", "--port", str(self.port)),
                ],
                cwd=self.folder,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                return urllib.request.urlopen(f"{self.uri}/health").close()
            except urllib.error.URLError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.1)

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "server")
    server.start()
    yield server
    server.kill()


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
