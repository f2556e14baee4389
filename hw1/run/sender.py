"""Sends the events that stages have left in ``.mlflow/`` to MLflow.

``python -m hw1.run.sender`` sends what is there and ends. With ``--wait``, as stages start it, one process
serves all stages: it first asks a server whether it answers, then waits, because importing MLflow takes seconds
of a core that a training needs; it sends once no stage is writing, or after ``PATIENCE`` as the events come, and
ends when nobody has written for a while. What cannot be sent stays in its file for the next sender. A run
carries the name of its file as the tag ``hw1.events``, so that a file sent in part and then again from its
beginning makes one run.

Where to: ``MLFLOW_TRACKING_URI``, or mlflow.db in the project's root.
"""

import contextlib
import json
import os
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hw1.run.tracking import spool

EXPERIMENT = "hw1"
EVENTS = "hw1.events"  # tag of a run: the name of its file
PATIENCE = 300.0  # seconds before MLflow is imported beside a training: the import's 4 s are under 2 % of them
QUIET = 10.0  # seconds without a writer after which no training is disturbed; DVC takes 2 between two stages
LINGER = 20.0  # seconds without a writer after which a waiting sender ends
RETRY = 15.0  # seconds between two tries after a failure
ANSWER = 10.0  # seconds a server may take
POLL = 1.0  # seconds between two looks at the files


class Sender:
    """The way from the files of one folder to MLflow; connects with the first delivery."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.connected = False
        self._runs: dict[Path, _Run] = {}

    def deliver(self) -> None:
        """Send what the files hold and delete the ended ones.

        A file that cannot be sent does not hold up the others; the first error is raised in the end.
        """
        from filelock import FileLock

        failure: Exception | None = None
        with FileLock(self.folder / "sender.lock"):
            if not self.connected:
                self._client, self._experiment = _connect(self.folder.parent)
                self.connected = True
            for events in files_in(self.folder):
                run = self._runs.setdefault(events, _Run(events))
                try:
                    run.send(self._client, self._experiment)
                except Exception as error:  # whatever MLflow, its database or its server raise
                    failure = failure or error
                    del self._runs[events]  # begins again
                    continue
                if run.ended:
                    self._runs.pop(events).delete()
        if failure is not None:
            raise failure


class _Run:
    """One file of events on its way to MLflow."""

    def __init__(self, events: Path):
        self.events = events
        self.ended = False
        self._position = 0
        self._run: str | None = None

    def send(self, client: Any, experiment: str) -> None:
        """Send what has been appended since the last call."""
        from mlflow.entities import Metric, Param, RunTag

        metrics: list[Metric] = []
        for event in self._read():
            match event["event"]:
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
                    waiting = any(file < self.events for file in files_in(self.events.parent))
                    _send_pictures(client, experiment, event, waiting)
                case "end":
                    self.ended = True
        for first in range(0, len(metrics), 1000):  # MLflow's limit for one call
            client.log_batch(self._run, metrics=metrics[first : first + 1000])
        if self.ended and self._run is not None:
            client.set_terminated(self._run, event["status"], event["time"])

    def _run_of(self, client: Any, experiment: str, start: Mapping[str, Any]) -> str:
        """The run of this file: one that an earlier sender began, or a new one."""
        begun = client.search_runs([experiment], f"tags.`{EVENTS}` = '{self.events.stem}'", max_results=1)
        if begun:
            return begun[0].info.run_id
        tags = {EVENTS: self.events.stem}
        return client.create_run(experiment, start["time"], tags=tags, run_name=start["name"]).info.run_id

    def _read(self) -> Iterator[dict[str, Any]]:
        """Whole new lines; a writer that is gone without an end has been killed."""
        gone = not is_written(self.events)  # asked first: nothing can be appended after it
        with open(self.events, encoding="utf-8") as file:
            file.seek(self._position)
            while (line := file.readline()).endswith("\n"):
                self._position = file.tell()
                with contextlib.suppress(ValueError):  # a line cut short by a full disk
                    yield json.loads(line)
        if gone and not self.ended:
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


def files_in(folder: Path) -> list[Path]:
    """The files of events, oldest first."""
    return sorted(folder.glob("*.jsonl"))


def is_written(events: Path) -> bool:
    """Whether a file of events has no end yet, and the process whose number is in its first line lives."""
    try:
        with open(events, "rb") as file:
            pid = json.loads(file.readline())["pid"]
            file.seek(-min(file.seek(0, os.SEEK_END), 200), os.SEEK_END)
            if b'{"event": "end"' in file.read():
                return False
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # sent by another process in between
        return False
    except ValueError:  # no whole line: just opened, or on a full disk
        return time.time() - events.stat().st_mtime < LINGER
    except PermissionError:
        pass
    return True


def _connect(root: Path) -> tuple[Any, str]:
    """MLflow's client and the experiment's number."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    check_server(given)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", f"{ANSWER:.0f}")
    from mlflow import MlflowClient

    client = MlflowClient(given or f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return client, experiment.experiment_id
    # MLflow freezes the place of the pictures at the experiment's creation, absolute.
    return client, client.create_experiment(EXPERIMENT, None if given else (root / "mlartifacts").as_uri())


def check_server(uri: str | None) -> None:
    """ConnectionError where ``uri`` is a server's and nothing answers there: cheap, unlike importing MLflow."""
    server = urlsplit(uri or "")
    if server.scheme not in ("http", "https"):
        return
    address = f"{server.scheme}://{server.netloc.rpartition('@')[2]}{server.path.rstrip('/')}"
    try:
        urllib.request.urlopen(f"{address}/health", timeout=ANSWER).close()
    except urllib.error.HTTPError:
        pass  # it wants a password, say, which MLflow's client has
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):  # MLflow's client may have a certificate of its own
            raise ConnectionError(f"{address}: {getattr(reason, 'strerror', None) or reason}") from error


def wait(folder: Path) -> None:
    """Serve the stages that write to ``folder`` until nobody has written for ``LINGER`` seconds.

    A failure is noted for the stages to tell and tried again; the last one is raised in the end.
    """
    sender = Sender(folder)
    begun = written = time.monotonic()
    failure, again = None, 0.0
    try:
        check_server(os.environ.get("MLFLOW_TRACKING_URI"))
    except ConnectionError as error:
        failure = note(folder, error)
    while True:
        now, files = time.monotonic(), files_in(folder)
        if any(map(is_written, files)):
            written = now
        due = sender.connected or now - begun >= PATIENCE or now - written >= QUIET
        if files and due and now >= again:
            try:
                if failure is not None:
                    check_server(os.environ.get("MLFLOW_TRACKING_URI"))
                sender.deliver()
                failure = note(folder, None)
            except Exception as error:  # whatever MLflow, its database or its server raise
                failure, again = note(folder, error), now + RETRY
        elif now - written >= LINGER and (failure is not None or not files):
            break
        time.sleep(POLL)
    if failure is not None:
        raise failure


def note(folder: Path, failure: Exception | None) -> Exception | None:
    """Write a failure down in ``trouble.txt``, or that there is none any more."""
    if failure is None:
        for name in ("trouble.txt", "told.txt"):
            (folder / name).unlink(missing_ok=True)
    else:
        reason = (str(failure) or type(failure).__name__).splitlines()[0]
        (folder / "trouble.txt").write_text(f"MLflow failed: {reason}\n")
    return failure


def _give_way() -> None:
    """Run only where a core has nothing else to do: two threads that step together wait for the slower one."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


def main() -> None:
    from filelock import FileLock, Timeout

    folder = spool()
    waits = sys.argv[1:] == ["--wait"]
    try:
        if not waits:
            Sender(folder).deliver()
            note(folder, None)
            return
        _give_way()
        while files_in(folder):  # a stage may begin while its sender is about to end
            with FileLock(folder / "waiting.lock", blocking=False):
                wait(folder)
    except Timeout:
        return  # another one is waiting
    except Exception as error:  # whatever MLflow, its database or its server raise
        note(folder, error)
        sys.exit(f"tracking: {(folder / 'trouble.txt').read_text().strip()}; the runs are kept in {folder}")


if __name__ == "__main__":
    main()
