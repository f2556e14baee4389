"""Sends the events that stages have left in ``.mlflow/`` to ``MLFLOW_TRACKING_URI``, or to mlflow.db in the root.

``python -m hw1.run.sender`` sends what is there and ends; with ``--wait``, as stages start it, one process does so
for all of them until nothing is left. What cannot be sent stays in its file, for the next sender.
"""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hw1.run.files import lock
from hw1.run.supervision import run_stage
from hw1.run.tracking import is_written, spool

EXPERIMENT = "hw1"
KIND = ("mlflow.experimentKind", "custom_model_development")  # else MLflow 3 opens its page for chat models, empty
EVENTS = "hw1.events"  # tag of a run, the name of its file
PATIENCE = 300.0  # seconds between two deliveries beside a training: the first imports MLflow, 4 s of a core
QUIET = 10.0  # seconds without a writer after which no training is disturbed; DVC takes 2 between two stages
POLL = 1.0  # seconds between two looks at the files
TOO_MUCH = r"(//)[^/@]*@|^.*\(Caused by "  # of an error to tell: a password in an address, what is not the cause
BATCH = 500  # metrics in one call; MLflow takes 1000 of metrics, parameters and tags together


def deliver(folder: Path) -> str:
    """Send what the files hold and delete the ended ones; what failed first (also in ``trouble.txt``), or ""."""
    mlflow, failure, trouble = None, "", folder / "trouble.txt"
    with open(folder / "sender.lock", "w") as file:
        lock(file.fileno())  # two processes that make a new database at once fail
        for events in sorted(folder.glob("*.jsonl")):  # oldest first
            try:
                mlflow = mlflow or _connect(folder.parent)
                _send(*mlflow, events, after_failure=bool(failure))
            except Exception as error:  # of MLflow, its database, its server; the other files may still go
                reason = re.sub(TOO_MUCH, r"\1", str(error) or type(error).__name__)
                failure = failure or f"MLflow failed: {reason.splitlines()[0]}"
                if mlflow is None:
                    break
        trouble.write_text(failure) if failure else trouble.unlink(missing_ok=True)
    return failure


def _connect(root: Path) -> tuple[Any, str]:
    """MLflow's client and the experiment's number."""
    os.environ |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    } | os.environ
    from mlflow import MlflowClient

    given = os.environ.get("MLFLOW_TRACKING_URI")
    client = MlflowClient(given or f"sqlite:///{root / 'mlflow.db'}")
    if experiment := client.get_experiment_by_name(EXPERIMENT):
        number = experiment.experiment_id
    else:  # MLflow freezes the place of the pictures at the experiment's creation, absolute.
        number = client.create_experiment(EXPERIMENT, None if given else (root / "mlartifacts").as_uri())
    if experiment is None or KIND[0] not in experiment.tags:
        client.set_experiment_tag(number, *KIND)
    return client, number


def _send(client: Any, experiment: str, events: Path, after_failure: bool) -> None:
    """Send a file from its beginning; MLflow keeps one of two equal values. LookupError if its pictures must wait."""
    from mlflow.entities import Metric, Param, RunTag

    gone = not is_written(events)  # asked first: nothing is appended after it
    run, end = _find(client, experiment, EVENTS, events.stem), None
    params, tags, metrics = [], [], []
    for event in _read(events):
        params += [Param(key, str(value)) for key, value in event.get("params", {}).items()]
        tags += [RunTag(key, value) for key, value in event.get("tags", {}).items()]
        metrics += [Metric(*item, event["time"], event["step"]) for item in event.get("metrics", {}).items()]
        if event["event"] == "start" and run is None:
            run = client.create_run(experiment, event["time"], {EVENTS: events.stem}, event["name"]).info.run_id
        elif event["event"] == "pictures":
            drawn = _find(client, experiment, "history.sha256", event["history"])
            if drawn is None and after_failure:
                raise LookupError("pictures wait for their run, which could not be sent yet")
            for file in event["files"] if drawn else ():
                client.log_artifact(drawn, file, "pictures")
        elif event["event"] == "end":
            end = event
    for first in range(0, max(1, len(metrics)), BATCH) if run else ():
        client.log_batch(run, metrics[first : first + BATCH], params, tags)
    if end or gone:  # without an end, the process was killed
        if run:
            client.set_terminated(run, end["status"] if end else "KILLED", end and end["time"])
        shutil.rmtree(events.with_suffix(""), ignore_errors=True)
        events.unlink()


def _read(events: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file, without those that a full disk cut short."""
    for line in events.read_text(encoding="utf-8").split("\n")[:-1]:
        with suppress(ValueError):
            yield json.loads(line)


def _find(client: Any, experiment: str, tag: str, value: str) -> str | None:
    """The latest run with a tag."""
    found = client.search_runs([experiment], f"tags.`{tag}` = '{value}'", max_results=1)
    return found[0].info.run_id if found else None


def wait(folder: Path) -> None:
    """Sleep until no stage has written for ``QUIET`` seconds, ``PATIENCE`` at most."""
    waited = quiet = 0.0
    while waited < PATIENCE and quiet < QUIET:
        time.sleep(POLL)
        waited += POLL
        quiet = 0.0 if any(map(is_written, folder.glob("*.jsonl"))) else quiet + POLL


def main() -> None:
    folder, failure = spool(), ""
    if sys.argv[1:] != ["--wait"]:
        failure = deliver(folder)
    else:
        os.nice(19)
        with open(folder / "waiting.lock", "w") as file:
            # Another one that waits has the lock, and serves this stage too.
            while lock(file.fileno(), wait=False) and any(folder.glob("*.jsonl")) and not failure:
                wait(folder)
                failure = deliver(folder)
    if failure:
        sys.exit(f"tracking: {failure}; the runs are kept in {folder}")


if __name__ == "__main__":
    run_stage(main)
