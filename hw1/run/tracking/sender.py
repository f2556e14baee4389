"""Sends the events that stages have left in ``.mlflow/`` to ``MLFLOW_TRACKING_URI``, or to mlflow.db in the root.

``python -m hw1.run.tracking.sender`` sends what is there and ends; with ``--wait``, as stages start it, one process
does so for all of them until nothing is left. What cannot be sent stays in its file, for the next sender. Each file is
sent from its beginning: MLflow keeps one of two equal values, and each other step looks first for what an earlier
sender has made. Each training is a run, under that of its ``dvc repro``; its model is a copy of its own, of weights and
of the code that reads them. Nothing in it is pickled.
"""

import json
import os
import re
import shutil
import sqlite3
import sys
import time
from collections import defaultdict
from contextlib import closing, redirect_stderr, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw1.run.files import lock
from hw1.run.processes.supervision import run_stage
from hw1.run.tracking.tracking import is_written, spool

EXPERIMENT = "hw1"
KIND = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow 3 opens its page for chat models, empty
EVENTS = "hw1.events"  # tag of a run, the name of its file
REPRO = "hw1.repro"  # tag of the run of a whole `dvc repro`: which one it is
SHARED = ("dvc.run", "dvc.exp.", "git.", "mlflow.", "version.")  # tags that all stages of a `dvc repro` have
BATCH = 500  # metrics in one call; MLflow takes 1000 of metrics, parameters and tags together
LOADER = "hw1.predict.pyfunc"
NEEDED = ("mlflow", "numpy", "pandas", "pillow", "ruamel.yaml", "safetensors", "torch", "torchvision", "tqdm")
LACKING = ("ENDPOINT_NOT_FOUND", "FEATURE_DISABLED", "NOT_IMPLEMENTED")  # of a server without models or registry
ADDRESSES = (  # tables and columns of MLflow's database that hold addresses of artifacts
    *(("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location")),
    *(("model_versions", "source"), ("model_versions", "storage_location")),
)
PATIENCE = 300.0  # seconds between two deliveries beside a training: the first imports MLflow, 4 s of a core
QUIET = 10.0  # seconds without a writer after which no training is disturbed; DVC takes 2 between two stages
POLL = 1.0  # seconds between two looks at the files
TOO_MUCH = r"(//)[^/@]*@|^.*\(Caused by "  # of an error to tell: a password in an address, what is not the cause

Event = dict[str, Any]
Events = dict[str, list[Event]]


@dataclass(frozen=True)
class Store:
    """An MLflow client, and the number of the experiment."""

    client: Any
    experiment: str

    @classmethod
    def connect(cls, root: Path) -> "Store":
        """Open ``MLFLOW_TRACKING_URI``, or the database in the root; make the experiment if need be.

        Raises:
            LookupError: the address is none, or the experiment was deleted.
        """
        # Relative: a folder's name may have characters that mean something in an address.
        database = f"sqlite:///{os.path.relpath(root / 'mlflow.db')}"
        os.environ |= {
            "MLFLOW_TRACKING_URI": database,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_LOGGING_LEVEL": "WARNING",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
        } | {key: value for key, value in os.environ.items() if value}
        from mlflow import MlflowClient

        address = os.environ["MLFLOW_TRACKING_URI"]
        if "://" not in address and ":" in address:
            raise LookupError(f"MLFLOW_TRACKING_URI: {address} is no address; write http://{address}")
        client = MlflowClient()
        place = (root / "mlartifacts").as_uri() if address == database else None
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return cls(client, client.create_experiment(EXPERIMENT, place, KIND))
        if experiment.lifecycle_stage == "deleted":
            advice = f"`mlflow experiments restore --experiment-id {experiment.experiment_id}` brings it back"
            raise LookupError(f"the experiment {EXPERIMENT} was deleted; {advice}")
        if place not in (None, experiment.artifact_location):  # the project was moved, and addresses are absolute
            with closing(sqlite3.connect(root / "mlflow.db")) as db, db:
                for table, column in ADDRESSES:
                    moved = f"update {table} set {column} = replace({column}, ?, ?)"
                    db.execute(moved, (experiment.artifact_location, place))
        return cls(client, experiment.experiment_id)

    def send(self, path: Path, after_failure: bool) -> None:
        """Send a file of events, and delete it if its stage has ended.

        What fails to go (files, above all) comes last, so that the run is whole without it.

        Raises:
            LookupError: its pictures must wait for a run that could not be sent.
        """
        from mlflow.exceptions import MlflowException

        gone = not is_written(path)  # asked first: nothing is appended after it
        events, files = _read_events(path), path.with_suffix("")
        if gone and not events["end"]:
            events["end"] = [{"status": "KILLED", "time": None}]
        if events["start"]:
            run = self._send_training(path.stem, events)
            try:
                self._send_model(run, events, files)
            except MlflowException as error:
                if error.error_code not in LACKING:
                    raise
        for event in events["pictures"]:
            run = self.find("history.sha256", event["history"])
            if run:
                self.client.log_artifacts(run, str(files / event["history"]), "pictures")
            elif after_failure:
                raise LookupError("pictures wait for their run, which could not be sent yet")
        for event in events["results"]:
            run = self._run_of_repro(event)
            self.client.log_batch(run, _metrics([event]))
            self.client.set_terminated(run, "FINISHED", event["time"])
            self.client.log_artifacts(run, str(files / "results"), "results")
        if events["end"]:
            path.unlink()  # first: without its files it could not be sent again
            shutil.rmtree(files, ignore_errors=True)

    def find(self, tag: str, value: str) -> str | None:
        """Return the latest run with a tag."""
        runs = self.client.search_runs([self.experiment], f"tags.`{tag}` = '{value}'", max_results=1)
        return runs[0].info.run_id if runs else None

    def _run_of_repro(self, event: Event) -> str:
        """Find the run of the whole ``dvc repro`` that a stage is part of; the first that is sent of it makes it."""
        tags, began = event["tags"], event["time"]
        if run := self.find(REPRO, tags["dvc.run"]):
            return run
        name = tags.get("dvc.exp.name") or time.strftime("dvc repro %Y-%m-%d %H:%M", time.localtime(began / 1000))
        tags = {key: value for key, value in tags.items() if key.startswith(SHARED)} | {
            REPRO: tags["dvc.run"],
            "mlflow.source.name": "dvc repro",
            "mlflow.note.content": "One `dvc repro`. The page with all results is its artifact results/index.html.",
        }
        return self.client.create_run(self.experiment, began, tags, name).info.run_id

    def _send_training(self, name: str, events: Events) -> str:
        """Send a training's numbers, texts and end, but none of its files; return its run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

        (start,) = events["start"]
        whole, run = self._run_of_repro(start), self.find(EVENTS, name)
        if run is None:
            tags = {EVENTS: name, "mlflow.parentRunId": whole}
            run = self.client.create_run(self.experiment, start["time"], tags, start["name"]).info.run_id
            self.client.update_run(whole, "RUNNING")
        metrics = _metrics(events["metrics"])
        params = [Param(*item) for item in start["params"].items()]
        tags = [RunTag(*item) for event in (start, *events["tags"]) for item in event["tags"].items()]
        for first in range(0, max(1, len(metrics)), BATCH):
            self.client.log_batch(run, metrics[first : first + BATCH], params, tags)
        for event in events["dataset"]:
            data = Dataset(event["name"], event["digest"], "local", event["source"], profile=event["profile"])
            self.client.log_inputs(run, [DatasetInput(data, [InputTag("mlflow.data.context", event["context"])])])
        for end in events["end"]:
            for ended in (run, whole):
                self.client.set_terminated(ended, end["status"], end["time"])
        return run

    def _send_model(self, run: str, events: Events, files: Path) -> None:
        """Log a training's network, if it left one, with the scores of its last epoch; register it.

        The alias ``current`` names the version of the latest training.
        """
        import mlflow
        from mlflow.entities import LoggedModelOutput

        if not events["model"]:
            return
        (start,), (event,), client = events["start"], events["model"], self.client
        name = start["name"].replace("@", "-")
        tags = {"git.commit": start["tags"].get("git.commit", ""), "trained": str(start["time"])}
        logged = client.search_logged_models([self.experiment], f"source_run_id = '{run}'", max_results=1)
        model = logged[0] if logged else client.create_logged_model(self.experiment, name, run, tags, start["params"])
        if str(model.status) != "READY":
            mlflow.pyfunc.log_model(
                model_id=model.model_id,
                loader_module=LOADER,
                data_path=str(files / "model" / event["file"]),
                code_paths=[str(files / "model/hw1")],
                pip_requirements=[f"{package}=={version(package)}" for package in NEEDED],
                metadata=event["card"],
            )
        if not client.get_run(run).outputs.model_outputs:
            client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
        epochs = [event for event in events["metrics"] if event["step"]]
        client.log_batch(run, _metrics(epochs[-1:], model_id=model.model_id, run_id=run))
        versions = list(client.search_model_versions(f"name = 'hw1-{name}'", max_results=1000))
        if model.model_uri not in {version.source for version in versions}:
            with open(os.devnull, "w") as silence, redirect_stderr(silence):
                versions.append(mlflow.register_model(model.model_uri, f"hw1-{name}", 0, tags=tags))
        current = max(versions, key=lambda version: int(version.tags.get("trained", 0)))
        client.set_registered_model_alias(f"hw1-{name}", "current", current.version)


def _read_events(path: Path) -> Events:
    """Read the whole lines of a file, by their kind; a full disk may have cut some short."""
    events = defaultdict(list)
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        with suppress(ValueError):
            event = json.loads(line)
            events[event["event"]].append(event)
    return events


def _metrics(events: list[Event], **model: str) -> list[Any]:
    from mlflow.entities import Metric

    return [
        Metric(*item, event["time"], event["step"], **model) for event in events for item in event["metrics"].items()
    ]


def deliver(folder: Path) -> str:
    """Send what the files hold; return what failed first (also in ``trouble.txt``), or ""."""
    store, failure, trouble = None, "", folder / "trouble.txt"
    with open(folder / "sender.lock", "w") as file:
        lock(file.fileno())  # two processes that make a new database at once fail
        for events in sorted(folder.glob("*.jsonl")):  # oldest first
            try:
                store = store or Store.connect(folder.parent)
                store.send(events, after_failure=bool(failure))
            except Exception as error:  # of MLflow, its database, its server; the other files may still go
                reason = re.sub(TOO_MUCH, r"\1", str(error) or type(error).__name__)
                failure = failure or f"MLflow failed: {reason.splitlines()[0]}"
                if store is None:
                    break
        trouble.write_text(failure) if failure else trouble.unlink(missing_ok=True)
    return failure


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
