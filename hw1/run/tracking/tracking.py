"""The record of a stage for MLflow, beside the training and never in its way.

Importing MLflow and opening its database take seconds of a core, and a server can hang. So a stage only appends events
to a file of its own, ``.mlflow/{run}.jsonl`` under the project's root, and starts a process that sends them,
:mod:`hw1.run.tracking.sender`. The stage holds a lock on the file until it ends, however it ends. Queued experiments
and seeds run in folders of their own, but DVC_ROOT is the project's, so their runs land there too.
``HW1_TRACKING=off`` switches tracking off, ``HW1_TRACKING_MODELS=off`` that of models alone.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hw1.run.errors import InputError
from hw1.run.files import is_locked, lock, project_root, sha256
from hw1.run.lockfile import stages_of
from hw1.run.processes.numerics import cpu
from hw1.run.processes.supervision import repro
from hw1.run.tracking.whereabouts import keep_record, surroundings

PACKAGE = Path(__file__).parents[2]  # hw1, which a model takes along
DOUBT = 86_400.0  # seconds without an event after which a stage counts as gone where the file system has no locks


def _recording(method: Callable[..., None]) -> Callable[..., None]:
    """Do nothing where there is no record; a disk that takes no events ends it, told in one line."""

    @functools.wraps(method)
    def guarded(self: "Tracker", *arguments: Any, **named: Any) -> None:
        if self.on:
            try:
                method(self, *arguments, **named)
            except OSError as error:
                self.on = False
                print(f"tracking: {error.filename}: {error.strerror}; going on without MLflow", file=sys.stderr)

    return guarded


class Tracker:
    """The events of one stage. A context manager: leaving it ends the run, FAILED after an exception."""

    def __init__(self, stage: str):
        self.stage = os.environ.get("DVC_STAGE", stage)
        self.on = os.environ.get("HW1_TRACKING") != "off"
        self._name = f"{time.time_ns()}-{os.getpid()}"  # sorts by time
        self._tags: Mapping[str, str] = {}
        self._open()

    @_recording
    def _open(self) -> None:
        folder = spool()
        self._events, self._files = folder / f"{self._name}.jsonl", folder / self._name
        draft = folder / f".{self._name}.tmp"
        self._lock = os.open(draft, os.O_RDWR | os.O_CREAT, 0o644)  # open for the life of the process
        lock(self._lock, wait=False)
        draft.rename(self._events)  # no sender finds it without the lock
        _start_sender(folder)

    @classmethod
    def start(cls, stage: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> "Tracker":
        """Begin the run of a training stage; ``tags`` describe the machine."""
        tracker = cls(stage)
        if tracker.on:
            tracker._tags = {**surroundings(tracker.stage), "cpu": cpu(), **tags}
            tracker._append(
                "start",
                name=tracker.stage,
                params={key: str(value) for key, value in params.items()},
                tags=tracker._tags,
            )
        return tracker

    @_recording
    def log_dataset(self, folder: Path, origin: str, images: Mapping[str, int], trained_on: bool) -> None:
        """Record a prepared part that the run reads: ``images`` of each split; the others' are only looked at."""
        source = json.dumps({"uri": folder.as_posix(), "origin": origin})
        known = {"digest": _content_hash(folder), "source": source}
        for split, count in images.items():
            if count:
                use = "training" if trained_on and split == "train" else "validation"
                name, profile = f"{folder.name}-{split}", json.dumps({"num_rows": count})
                self._append("dataset", name=name, profile=profile, context=use, **known)

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Record an epoch's row; its step is ``row["epoch"]``."""
        self.log_metrics({key: value for key, value in row.items() if key != "epoch"}, int(row["epoch"]))

    def log_resumption(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Record the epochs that an interrupted process has trained before this one."""
        self._append("tags", tags={"resumed.after_epoch": str(len(rows))})
        for row in rows:
            self.log_epoch(row)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record numbers of a step; those of the run as a whole have step 0."""
        self._append("metrics", step=step, metrics={key: float(value) for key, value in metrics.items()})

    @_recording
    def log_history(self, history: Path) -> None:
        """Tag the run with the hash of its history file, by which :meth:`log_pictures` finds it again, and keep the
        record of where it ran for the page.
        """
        self._append("tags", tags={"history.sha256": sha256(history)})
        changed = " with changes" if self._tags.get("git.dirty") == "true" else ""
        record = {
            "ended": datetime.now(UTC).isoformat(" ", "seconds"),
            "device": self._tags.get("device", ""),
            "CPU": self._tags.get("cpu", ""),
            "commit": f"{self._tags.get('git.commit', 'none')[:12]}{changed}",
            "MLflow run": f"{self.stage}, hw1.events {self._name}",
        }
        keep_record(history, record)

    @_recording
    def log_model(self, weights: Path, card: Mapping[str, Any]) -> None:
        """Record the trained network: copies of its file and of the code of today, which can read it."""
        if os.environ.get("HW1_TRACKING_MODELS") != "off":
            self._copy([weights], "model")
            shutil.copytree(PACKAGE, self._files / "model/hw1", ignore=shutil.ignore_patterns("__pycache__", ".*"))
            self._append("model", file=weights.name, card=dict(card))

    @_recording
    def log_results(self, files: Sequence[Path], metrics: Mapping[str, float]) -> None:
        """Add the page and other files of results, and the numbers in them, to the run of this ``dvc repro``."""
        self._copy(files, "results")
        numbers = {key: float(value) for key, value in metrics.items()}
        self._append("results", tags=surroundings(self.stage), metrics=numbers, step=0)

    @_recording
    def log_pictures(self, history: Path, pictures: Sequence[Path]) -> None:
        """Add pictures to the latest run that wrote this history file."""
        digest = sha256(history)
        self._copy(pictures, digest)
        self._append("pictures", history=digest)

    def _copy(self, files: Sequence[Path], folder: str) -> None:
        """Copy files that may be gone before they are sent."""
        (self._files / folder).mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(file, self._files / folder / file.name)

    @_recording
    def _append(self, event: str, **content: Any) -> None:
        line = json.dumps({"event": event, "time": round(time.time() * 1000), **content})
        with open(self._events, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def __enter__(self) -> "Tracker":
        return self

    @_recording
    def __exit__(self, kind: type | None, *_: object) -> None:
        stopped = kind is not None and issubclass(kind, SystemExit)
        self._append("end", status="FINISHED" if kind is None else "KILLED" if stopped else "FAILED")
        os.close(self._lock)
        _tell_of_trouble(self._events.parent)


def spool() -> Path:
    """The folder of events that are not sent yet, made if need be."""
    folder = project_root() / ".mlflow"
    folder.mkdir(exist_ok=True)
    return folder


def is_written(events: Path) -> bool:
    """Tell whether a stage still writes a file of events: it holds the lock; where there are none, it wrote lately."""
    locked = is_locked(events)
    return time.time() - events.stat().st_mtime < DOUBT if locked is None else locked


def _start_sender(folder: Path) -> None:
    """Run a sender in a session of its own; it ends at once where another one is waiting."""
    command = [sys.executable, "-m", "hw1.run.tracking.sender", "--wait"]
    environment = {**os.environ, "DVC_ROOT": str(folder.parent), "PYTHONPATH": str(PACKAGE.parent)}
    with open(folder / "sender.log", "a") as log:
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        subprocess.Popen(command, env=environment, cwd=folder, **streams, start_new_session=True)


def _tell_of_trouble(folder: Path) -> None:
    """Say what made the last sender fail, once for all stages of one ``dvc repro``."""
    with suppress(FileNotFoundError):
        text = (folder / "trouble.txt").read_text()
        record, line = folder / "told.txt", f"{repro()} {text}"
        if not record.exists() or record.read_text() != line:
            advice = "runs are kept in .mlflow, send them with `python -m hw1.run.tracking.sender`"
            print(f"tracking: {text}; {advice}", file=sys.stderr)
            record.write_text(line)


def _content_hash(folder: Path) -> str:
    """DVC's hash of a folder, which it has just made or checked; of its manifest where DVC did not start the stage."""
    if "DVC_STAGE" in os.environ:
        with suppress(OSError, InputError):
            stages = stages_of(Path("dvc.lock").read_bytes(), "dvc.lock").values()
            # Of the stage that made it: those that read it may have older hashes.
            made = {path: md5 for stage in stages for path, md5 in stage.writes.items()}
            if digest := made.get(folder.as_posix()):
                return digest.removesuffix(".dir")
    return sha256(folder / "manifest.json")[:32]
