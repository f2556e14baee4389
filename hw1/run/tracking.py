"""The record of a stage for MLflow, beside the training and never in its way.

Importing MLflow and opening its database take seconds of a core, and a server can hang. So a stage only
appends events to a file of its own, ``.mlflow/{run}.jsonl`` under the project's root, and starts a process
that sends them, :mod:`hw1.run.sender`.

DVC runs queued and temporary experiments in folders of their own but keeps DVC_ROOT at the checkout, so their
runs land there too. ``HW1_TRACKING=off`` switches tracking off, ``HW1_TRACKING_MODELS=off`` that of models alone.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hw1.run.chip import cpu
from hw1.run.files import link, project_root, sha256
from hw1.run.supervision import repro
from hw1.run.surroundings import surroundings
from hw1.run.system_metrics import Sampler
from hw1.run.whereabouts import keep_record

PACKAGE = Path(__file__).parents[1]  # hw1, which a model takes along


class Tracker:
    """The events of one stage. A context manager: leaving it ends the run, FAILED after an exception."""

    def __init__(self, stage: str):
        self.stage = os.environ.get("DVC_STAGE", stage)
        self._folder: Path | None = None
        self._tags: Mapping[str, str] = {}
        self._sampler: Sampler | None = None
        self._writing = threading.Lock()  # the sampler writes from a thread of its own
        if os.environ.get("HW1_TRACKING") != "off":
            self._name = f"{time.time_ns()}-{os.getpid()}"  # sorts by time
            with self._never_failing():
                self._folder = spool()
                self._events = self._folder / f"{self._name}.jsonl"
                self._append("open")
                _start_sender(self._folder)

    @classmethod
    def start(cls, stage: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> "Tracker":
        """Begin the run of a training stage; ``tags`` describe the machine."""
        tracker = cls(stage)
        if tracker._folder is not None:
            tracker._tags = {**surroundings(tracker.stage), "cpu": cpu(), **tags}
            tracker._write("start", name=tracker.stage, params=dict(params), tags=tracker._tags)
            tracker._sampler = Sampler(tracker._log_system)
        return tracker

    def log_dataset(self, folder: Path, origin: str, images: Mapping[str, int], trained_on: bool) -> None:
        """Record a prepared part that the run reads: ``images`` of each split; the others' are only looked at."""
        if self._folder is None:
            return
        source = {"uri": folder.as_posix(), "origin": origin}
        digest = _recorded_hash(folder) or sha256(folder / "manifest.json")[:32]
        datasets = [
            {"name": f"{folder.name}-{split}", "digest": digest, "source": source, "images": count}
            | {"context": "training" if trained_on and split == "train" else "validation"}
            for split, count in images.items()
            if count
        ]
        self._write("datasets", datasets=datasets)

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
        """Tag the run with the hash of its history file, by which :meth:`log_pictures` finds it again, and the page the
        record that is kept here of where it ran.
        """
        self._write("tags", tags={"history.sha256": sha256(history)})
        if self._folder is not None:
            with self._never_failing():
                keep_record(history, self._whereabouts())

    def log_model(self, weights: Path, output: Path, card: Mapping[str, Any]) -> None:
        """Record the trained network: a hard link to its file, which may be replaced before it is sent, where that
        will lie (``output``), what its ``card`` says of it, and the code of today that can read it.
        """
        if self._folder is None or os.environ.get("HW1_TRACKING_MODELS") == "off":
            return
        with self._never_failing():
            model = self._folder / self._name / "model"
            for source in PACKAGE.rglob("*.py"):
                target = model / "code" / source.relative_to(PACKAGE.parent)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            link(weights, model / weights.name)
            self._append("model", folder=str(model), file=weights.name, output=str(output.resolve()), card=dict(card))

    def log_results(self, files: Sequence[Path], metrics: Mapping[str, float]) -> None:
        """Add the page and other files of results, and the numbers in them, to the run of this ``dvc repro``."""
        if self._folder is None:
            return
        with self._never_failing():
            numbers = {key: float(value) for key, value in metrics.items()}
            self._append("results", files=self._copies(files), tags=surroundings(self.stage), numbers=numbers)

    def log_pictures(self, history: Path, pictures: Sequence[Path]) -> None:
        """Add pictures to the latest run that wrote this history file."""
        if self._folder is None:
            return
        with self._never_failing():
            self._append("pictures", history=sha256(history), files=self._copies(pictures))

    def _whereabouts(self) -> dict[str, str]:
        changed = " with changes" if self._tags.get("git.dirty") == "true" else ""
        return {
            "ended": datetime.now(UTC).isoformat(" ", "seconds"),
            "device": self._tags.get("device", ""),
            "CPU": self._tags.get("cpu", ""),
            "commit": f"{self._tags.get('git.commit', 'none')[:12]}{changed}",
            "MLflow run": f"{self.stage}, hw1.events {self._name}",
        }

    def _copies(self, files: Sequence[Path]) -> list[str]:
        """Of files that may be gone before they are sent."""
        copies = self._folder / self._name
        copies.mkdir(exist_ok=True)
        return [str(shutil.copy(file, copies)) for file in files]

    def _log_system(self, look: int, metrics: Mapping[str, float]) -> None:
        self._write("metrics", step=look, metrics=dict(metrics))

    def _write(self, event: str, **content: Any) -> None:
        if self._folder is not None:
            with self._never_failing():
                self._append(event, **content)

    def _append(self, event: str, **content: Any) -> None:
        line = json.dumps({"event": event, "time": round(time.time() * 1000), **content})
        with self._writing, open(self._events, "a", encoding="utf-8") as file:
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
        if self._sampler is not None:
            self._sampler.stop()
        stopped = kind is not None and issubclass(kind, SystemExit)
        self._write("end", status="FINISHED" if kind is None else "KILLED" if stopped else "FAILED")
        if self._folder is not None:
            with self._never_failing():
                _tell_of_trouble(self._folder)


def spool() -> Path:
    """The folder of events that are not sent yet, made if need be."""
    folder = project_root() / ".mlflow"
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
    telling = f"{repro()} {text}"
    if text and not (told.exists() and told.read_text() == telling):
        advice = "runs are kept in .mlflow, send them with `python -m hw1.run.sender`"
        print(f"tracking: {text}; {advice}", file=sys.stderr)
        told.write_text(telling)


def _recorded_hash(folder: Path) -> str:
    """What DVC, which has just made or checked the folder, calls its content; "" where it did not start the stage."""
    with contextlib.suppress(OSError):
        lock = Path("dvc.lock").read_text(encoding="utf-8") if "DVC_STAGE" in os.environ else ""
        # Read as text: its YAML takes a second. Of the stage that made it: those that read it may have older hashes.
        entry = rf"outs:\n +- path: {re.escape(folder.as_posix())}\n +hash: md5\n +md5: (\w+)"
        if found := re.search(entry, lock):
            return found[1]
    return ""
