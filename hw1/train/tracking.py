"""MLflow, beside the training and never in its way.

Importing MLflow and opening its database take seconds of a core, and a server can hang. So a stage only
appends events to a file of its own, ``.mlflow/{run}.jsonl`` under the project's root. One sender for all
stages (this module, run with ``-m``) reads these files as they grow, speaks to MLflow, deletes what is
sent, and ends when nothing has come for a while. What cannot be sent stays in its file: the next stage's
sender, or ``python -m hw1.train.tracking`` by hand, sends it. A run carries the name of its file as the tag
``hw1.events``, so that a file sent in part and then again from its beginning makes one run.

Where to: ``MLFLOW_TRACKING_URI``, or mlflow.db in the project's root. DVC runs queued and temporary
experiments in folders of their own but keeps DVC_ROOT at the checkout, so their runs land there too.
``HW1_TRACKING=off`` switches tracking off.
"""

import contextlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hw1.files import sha256
from hw1.supervision import ancestors

EXPERIMENT = "hw1"
EVENTS = "hw1.events"  # tag of a run: the name of its file
CODE = ("hw1", "stages", "dvc.yaml", "params.yaml")  # what makes a tree dirty; outputs change at every run
LINGER = 20.0  # seconds without events after which the sender ends
POLL = 0.5  # seconds between two looks at the files


class Tracker:
    """The events of one stage. A context manager: leaving it ends the run, FAILED after an exception."""

    def __init__(self, stage: str):
        self.stage = os.environ.get("DVC_STAGE", stage)
        self._folder: Path | None = None
        if os.environ.get("HW1_TRACKING") != "off":
            self._name = f"{time.time_ns()}-{uuid.uuid4().hex[:8]}"  # sorts by time
            with self._never_failing():
                self._folder = spool()
                self._append("open", pid=os.getpid())
                _start_sender(self._folder)

    @classmethod
    def start(cls, stage: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> "Tracker":
        """Begin the run of a training stage; ``tags`` describe the machine."""
        tracker = cls(stage)
        tracker._write("start", name=tracker.stage, params=dict(params), tags={**_surroundings(), **tags})
        return tracker

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Record an epoch's row; its step is ``row["epoch"]``."""
        metrics = {key: float(value) for key, value in row.items() if key != "epoch"}
        self._write("metrics", step=int(row["epoch"]), metrics=metrics)

    def log_resumption(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Record the epochs that an interrupted process has trained before this one."""
        self._write("tags", tags={"resumed.after_epoch": str(len(rows))})
        for row in rows:
            self.log_epoch(row)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record numbers that belong to the run as a whole."""
        self._write("metrics", step=0, metrics={key: float(value) for key, value in metrics.items()})

    def log_history(self, history: Path) -> None:
        """Tag the run with the hash of its history file, by which :meth:`log_pictures` finds it again."""
        self._write("tags", tags={"history.sha256": sha256(history)})

    def log_pictures(self, history: Path, pictures: Sequence[Path]) -> None:
        """Add pictures to the latest run that wrote this history file."""
        if self._folder is None:
            return
        with self._never_failing():
            copies = self._folder / self._name  # the originals may be gone before they are sent
            copies.mkdir(exist_ok=True)
            files = [str(shutil.copy(picture, copies)) for picture in pictures]
            self._append("pictures", history=sha256(history), files=files)

    def _write(self, event: str, **content: Any) -> None:
        if self._folder is not None:
            with self._never_failing():
                self._append(event, **content)

    def _append(self, event: str, **content: Any) -> None:
        line = json.dumps({"event": event, "time": round(time.time() * 1000), **content})
        with open(self._folder / f"{self._name}.jsonl", "a", encoding="utf-8") as file:
            file.write(line + "\n")

    @contextlib.contextmanager
    def _never_failing(self) -> Iterator[None]:
        """A disk that takes no events ends the record, told in one line, and nothing else."""
        try:
            yield
        except OSError as error:
            self._folder = None
            print(f"tracking: {error.filename}: {error.strerror}; going on without MLflow", file=sys.stderr)

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        stopped = kind is not None and issubclass(kind, SystemExit)
        self._write("end", status="FINISHED" if kind is None else "KILLED" if stopped else "FAILED")
        if self._folder is not None:
            with self._never_failing():
                _start_sender(self._folder)  # the one from the beginning may have ended during a long epoch
                _tell_of_trouble(self._folder)


def spool() -> Path:
    """The folder of events that are not sent yet, made if need be."""
    folder = Path(os.environ.get("DVC_ROOT", ".")).resolve() / ".mlflow"
    folder.mkdir(exist_ok=True)
    return folder


def _start_sender(folder: Path) -> None:
    """Run a sender in a session of its own; it ends at once where another one is at work."""
    with open(folder / "sender.log", "a") as log:
        subprocess.Popen(
            [sys.executable, "-m", "hw1.train.tracking", "--linger"],
            env={**os.environ, "DVC_ROOT": str(folder.parent), "PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _tell_of_trouble(folder: Path) -> None:
    """What made the last sender fail, once for all stages of one ``dvc repro``."""
    trouble, told = folder / "trouble.txt", folder / "told.txt"
    if not trouble.exists():
        return
    text = trouble.read_text().strip()
    telling = f"{ancestors()[-1]} {text}"
    if not told.exists() or told.read_text() != telling:
        print(
            f"tracking: {text}; runs are kept in .mlflow, send them with `python -m hw1.train.tracking`",
            file=sys.stderr,
        )
        told.write_text(telling)


def _surroundings() -> dict[str, str]:
    """Tags of where a run happened: commit, whether the code differs from it, DVC's names, versions."""
    tags = {
        "dvc.stage": os.environ.get("DVC_STAGE", ""),
        "dvc.exp.name": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.exp.baseline_rev": os.environ.get("DVC_EXP_BASELINE_REV", ""),
        "git.commit": _git("rev-parse", "HEAD"),
        "git.dirty": str(bool(_git("status", "--porcelain", "--", *CODE))).lower(),
        "version.python": sys.version.split()[0],
    }
    packages = ("torch", "torchvision", "numpy", "dvc", "mlflow")
    tags |= {f"version.{package}": _version(package) for package in packages}
    return {key: value for key, value in tags.items() if value}


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


class _Run:
    """One file of events on its way to MLflow."""

    def __init__(self, events: Path):
        self.events = events
        self.ended = False
        self._position = 0
        self._writer: int | None = None
        self._run: str | None = None

    def send(self, client: Any, experiment: str) -> bool:
        """Send what has been appended since the last call; True if there was anything."""
        from mlflow.entities import Metric, Param, RunTag

        metrics: list[Metric] = []
        events = list(self._read())
        for event in events:
            match event["event"]:
                case "open":
                    self._writer = event["pid"]
                case "start":
                    self._run = self._run_of(client, experiment, event)
                    params = [Param(key, str(value)) for key, value in event["params"].items()]
                    client.log_batch(self._run, params=params, tags=[RunTag(*tag) for tag in event["tags"].items()])
                case "metrics":
                    step, when = event["step"], event["time"]
                    metrics += [Metric(key, value, when, step) for key, value in event["metrics"].items()]
                case "tags":
                    client.log_batch(self._run, tags=[RunTag(*tag) for tag in event["tags"].items()])
                case "pictures":
                    waiting = any(file < self.events for file in self.events.parent.glob("*.jsonl"))
                    _send_pictures(client, experiment, event, waiting)
                case "end":
                    self.ended = True
        for first in range(0, len(metrics), 1000):  # MLflow's limit for one call
            client.log_batch(self._run, metrics=metrics[first : first + 1000])
        if self.ended and self._run is not None:
            client.set_terminated(self._run, events[-1]["status"], events[-1]["time"])
        return bool(events)

    def _run_of(self, client: Any, experiment: str, start: Mapping[str, Any]) -> str:
        """The run of this file: one that an earlier sender began, or a new one."""
        begun = client.search_runs([experiment], f"tags.`{EVENTS}` = '{self.events.stem}'", max_results=1)
        if begun:
            return begun[0].info.run_id
        tags = {EVENTS: self.events.stem}
        return client.create_run(experiment, start["time"], tags=tags, run_name=start["name"]).info.run_id

    def _read(self) -> Iterator[dict[str, Any]]:
        """Whole new lines; a writer that is gone without an end has been killed."""
        alive = self._writer is None or _is_alive(self._writer)
        with open(self.events, encoding="utf-8") as file:
            file.seek(self._position)
            while (line := file.readline()).endswith("\n"):
                self._position = file.tell()
                with contextlib.suppress(ValueError):  # a line cut short by a full disk
                    yield json.loads(line)
        if not alive and not self.ended:
            yield {"event": "end", "time": round(time.time() * 1000), "status": "KILLED"}

    def delete(self) -> None:
        shutil.rmtree(self.events.with_suffix(""), ignore_errors=True)
        self.events.unlink()


def _send_pictures(client: Any, experiment: str, event: Mapping[str, Any], waiting: bool) -> None:
    """Add pictures to the latest run with their history; LookupError if it is not there yet and may be ``waiting``."""
    found = client.search_runs([experiment], f"tags.`history.sha256` = '{event['history']}'", max_results=1)
    if not found and waiting:
        raise LookupError("pictures wait for their run, which could not be sent yet")
    for file in event["files"] if found else ():
        client.log_artifact(found[0].info.run_id, file, "pictures")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _connect(root: Path) -> tuple[Any, str]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient

    given = os.environ.get("MLFLOW_TRACKING_URI")
    client = MlflowClient(given or f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return client, experiment.experiment_id
    # MLflow freezes the place of the pictures at the experiment's creation, absolute.
    return client, client.create_experiment(EXPERIMENT, None if given else (root / "mlartifacts").as_uri())


def send_all(folder: Path, linger: float) -> None:
    """Send every file of events in ``folder``; go on until none is open and none came for ``linger`` seconds.

    A file that cannot be sent does not hold up the others; its error is raised in the end.
    """
    client, experiment = _connect(folder.parent)
    runs: dict[Path, _Run] = {}
    failed: dict[Path, Exception] = {}
    last = time.monotonic()
    while True:
        for events in sorted(set(folder.glob("*.jsonl")) - failed.keys()):
            run = runs.setdefault(events, _Run(events))
            try:
                if run.send(client, experiment):
                    last = time.monotonic()
            except Exception as error:  # whatever MLflow, its database or its server raise
                failed[events] = error
                runs.pop(events)
                continue
            if run.ended:
                runs.pop(events).delete()
        if not runs and (failed or time.monotonic() - last >= linger):
            break
        time.sleep(POLL)
    for error in failed.values():
        raise error


def _give_way() -> None:
    """Run only where a core has nothing else to do: two threads that step together wait for the slower one."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


def main() -> None:
    from filelock import FileLock, Timeout

    folder = spool()
    lingers = sys.argv[1:] == ["--linger"]
    if lingers:
        _give_way()
    lock = FileLock(folder / "sender.lock")
    trouble = folder / "trouble.txt"
    while not lingers or any(folder.glob("*.jsonl")):
        try:
            with lock.acquire(blocking=False):
                send_all(folder, LINGER if lingers else 0.0)
            for file in (trouble, folder / "told.txt"):
                file.unlink(missing_ok=True)
        except Timeout:  # another sender is at work
            if not lingers and any(folder.glob("*.jsonl")):
                time.sleep(POLL)
                continue
            return
        except Exception as error:  # whatever MLflow, its database or its server raise
            text = str(error) or type(error).__name__
            trouble.write_text(f"MLflow failed: {text.splitlines()[0]}\n")
            sys.exit(f"tracking: {trouble.read_text().strip()}; the runs are kept in {folder}")
        if not lingers:
            return


if __name__ == "__main__":
    main()
