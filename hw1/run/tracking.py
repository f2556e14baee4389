"""The record of a stage for MLflow, beside the training and never in its way.

Importing MLflow and opening its database take seconds of a core, and a server can hang. So a stage only
appends events to a file of its own, ``.mlflow/{run}.jsonl`` under the project's root, and starts a process
that sends them, :mod:`hw1.run.sender`.

DVC runs queued and temporary experiments in folders of their own but keeps DVC_ROOT at the checkout, so their
runs land there too. ``HW1_TRACKING=off`` switches tracking off.
"""

import contextlib
import getpass
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hw1.run.chip import cpu
from hw1.run.files import sha256
from hw1.run.supervision import ancestors, identity

# What makes a tree dirty; outputs change at every run.
CODE = ("hw1", "stages", "dvc.yaml", "params.yaml", "environment.json")


class Tracker:
    """The events of one stage. A context manager: leaving it ends the run, FAILED after an exception."""

    def __init__(self, stage: str):
        self.stage = os.environ.get("DVC_STAGE", stage)
        self._folder: Path | None = None
        if os.environ.get("HW1_TRACKING") != "off":
            self._name = f"{time.time_ns()}-{os.getpid()}"  # sorts by time
            with self._never_failing():
                self._folder = spool()
                self._append("open")
                _start_sender(self._folder)

    @classmethod
    def start(cls, stage: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> "Tracker":
        """Begin the run of a training stage; ``tags`` describe the machine."""
        tracker = cls(stage)
        tracker._write("start", name=tracker.stage, params=dict(params), tags={**_surroundings(tracker.stage), **tags})
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
                _tell_of_trouble(self._folder)


def spool() -> Path:
    """The folder of events that are not sent yet, made if need be."""
    folder = Path(os.environ.get("DVC_ROOT", ".")).resolve() / ".mlflow"
    folder.mkdir(exist_ok=True)
    return folder


def is_written(events: Path) -> bool:
    """Whether the process that writes a file of events, and whose number ends its name, lives."""
    try:
        os.kill(int(events.stem.rpartition("-")[2]), 0)
    except (OSError, ValueError) as error:
        return isinstance(error, PermissionError)  # it is another user's
    return True


def _start_sender(folder: Path) -> None:
    """Run a sender in a session of its own; it ends at once where another one is waiting."""
    command = [sys.executable, "-m", "hw1.run.sender", "--wait"]
    environment = {**os.environ, "DVC_ROOT": str(folder.parent), "PYTHONPATH": str(Path(__file__).parents[2])}
    with open(folder / "sender.log", "a") as log:
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        subprocess.Popen(command, env=environment, cwd=folder, **streams, start_new_session=True)


def _tell_of_trouble(folder: Path) -> None:
    """What made the last sender fail, once for all stages of one ``dvc repro``."""
    trouble, told = folder / "trouble.txt", folder / "told.txt"
    text = trouble.read_text() if trouble.exists() else ""
    telling = f"{ancestors()[-1]} {text}"
    if text and not (told.exists() and told.read_text() == telling):
        advice = "runs are kept in .mlflow, send them with `python -m hw1.run.sender`"
        print(f"tracking: {text}; {advice}", file=sys.stderr)
        told.write_text(telling)


def _surroundings(stage: str) -> dict[str, str]:
    """Tags of where a run happened: commit, whether the code differs from it, DVC's names, versions; MLflow's own, by
    which its pages fill the columns Source, Version, Created by and Description; and one for all runs of one ``dvc
    repro``, to group them by.
    """
    commit = _git("rev-parse", "HEAD")
    tags = {
        "mlflow.source.name": f"dvc repro {stage}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit,
        "mlflow.user": _user(),
        "mlflow.note.content": f"Stage `{stage}` of dvc.yaml. The page with all results is report/index.html.",
        "dvc.run": identity(ancestors()[-1]),
        "dvc.stage": os.environ.get("DVC_STAGE", ""),
        "dvc.exp.name": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.exp.baseline_rev": os.environ.get("DVC_EXP_BASELINE_REV", ""),
        "git.commit": commit,
        "git.dirty": str(bool(_git("status", "--porcelain", "--", *CODE))).lower(),
        "cpu": cpu(),
        "version.python": sys.version.split()[0],
    }
    packages = ("torch", "torchvision", "numpy", "dvc", "mlflow")
    tags |= {f"version.{package}": _version(package) for package in packages}
    return {key: value for key, value in tags.items() if value}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's number without a name
        return str(os.getuid())


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
