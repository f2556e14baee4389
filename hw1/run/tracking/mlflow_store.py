"""What is in a stage's events, as MLflow keeps it: a run for each training, under one for the whole ``dvc repro``."""

import contextlib
import json
import os
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw1.run.tracking.mlflow_models import send_model
from hw1.run.tracking.record import Record
from hw1.run.tracking.tracking import is_written

EXPERIMENT = "hw1"
KIND = ("mlflow.experimentKind", "custom_model_development")  # else MLflow 3 opens its page for chat models, empty
EVENTS = "hw1.events"  # tag of a run, the name of its file
REPRO = "hw1.repro"  # tag of the run of a whole `dvc repro`: which one it is
OF_ALL = ("dvc.run", "dvc.exp.", "git.", "mlflow.", "version.")  # tags of a stage that all of its `dvc repro` share
PLACES = (  # tables and columns of MLflow's database that hold addresses of artifacts
    *(("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location")),
    *(("model_versions", "source"), ("model_versions", "storage_location")),
)
BATCH = 500  # metrics in one call; MLflow takes 1000 of metrics, parameters and tags together


@dataclass(frozen=True)
class Store:
    """An MLflow client, and the number of the experiment."""

    client: Any
    experiment: str

    @classmethod
    def connect(cls, root: Path) -> "Store":
        """To ``MLFLOW_TRACKING_URI``, or the database in the root; makes the experiment if need be.

        Raises:
            LookupError: the address is none, or the experiment was deleted.
        """
        os.environ |= {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_LOGGING_LEVEL": "WARNING",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
        } | os.environ
        from mlflow import MlflowClient

        given = os.environ.get("MLFLOW_TRACKING_URI")
        if given and "://" not in given and ":" in given:
            raise LookupError(f"MLFLOW_TRACKING_URI: {given} is no address; write http://{given}")
        # Relative: a folder's name may have characters that mean something in an address.
        client = MlflowClient(given or f"sqlite:///{os.path.relpath(root / 'mlflow.db')}")
        place = None if given else (root / "mlartifacts").as_uri()
        if experiment := client.get_experiment_by_name(EXPERIMENT):
            number = experiment.experiment_id
            if experiment.lifecycle_stage == "deleted":
                advice = f"`mlflow experiments restore --experiment-id {number}` brings it back"
                raise LookupError(f"the experiment {EXPERIMENT} was deleted; {advice}")
            if place and experiment.artifact_location != place:
                _move(root / "mlflow.db", experiment.artifact_location, place)
        else:
            number = client.create_experiment(EXPERIMENT, place)
        if not experiment or KIND[0] not in experiment.tags:
            client.set_experiment_tag(number, *KIND)
        return cls(client, number)

    def send(self, events: Path, after_failure: bool) -> None:
        """Send a file from its beginning, and delete it if its stage has ended; MLflow keeps one of two equal values.

        What fails to go (files, above all) comes last, so that the run is whole without it.

        Raises:
            LookupError: its pictures must wait for a run that could not be sent.
        """
        gone = not is_written(events)  # asked first: nothing is appended after it
        record, files = Record.read(events), events.with_suffix("")
        if record.start:
            run = self._send_run(events, record, gone)
            if record.model:
                send_model(self.client, self.experiment, run, record, files)
        for event in record.pictures:
            drawn = self.find("history.sha256", event["history"])
            if drawn is None and after_failure:
                raise LookupError("pictures wait for their run, which could not be sent yet")
            for name in event["files"] if drawn else ():
                self.client.log_artifact(drawn, str(files / name), "pictures")
        if record.results:
            self._send_results(record.results, files)
        if record.end or gone:
            shutil.rmtree(files, ignore_errors=True)
            events.unlink()

    def find(self, tag: str, value: str) -> str | None:
        """The latest run with a tag."""
        found = self.client.search_runs([self.experiment], f"tags.`{tag}` = '{value}'", max_results=1)
        return found[0].info.run_id if found else None

    def _send_run(self, events: Path, record: Record, gone: bool) -> str:
        """The run of a training, with all but its files."""
        from mlflow.entities import Metric, Param, RunTag

        whole, began = self._of_repro(record.tags, record.start["time"]), record.start["time"]
        run = self.find(EVENTS, events.stem)
        if run is None:
            tags = {EVENTS: events.stem, "mlflow.parentRunId": whole}
            run = self.client.create_run(self.experiment, began, tags, record.start["name"]).info.run_id
            self.client.update_run(whole, "RUNNING")
        metrics = [Metric(*values) for values in record.metrics]
        params = [Param(key, value) for key, value in record.params.items()]
        tags = [RunTag(key, value) for key, value in record.tags.items()]
        for first in range(0, max(1, len(metrics)), BATCH):
            self.client.log_batch(run, metrics[first : first + BATCH], params, tags)
        if record.datasets:
            self.client.log_inputs(run, _dataset_inputs(record.datasets))
        if record.end or gone:  # without an end, the process was killed
            status, moment = (record.end["status"], record.end["time"]) if record.end else ("KILLED", None)
            for each in (run, whole):
                self.client.set_terminated(each, status, moment)
        return run

    def _of_repro(self, tags: dict[str, str], began: int) -> str:
        """The run of the whole ``dvc repro`` that a stage is part of; made by the first that is sent of it."""
        if found := self.find(REPRO, tags["dvc.run"]):
            return found
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(began / 1000))
        kept = {key: value for key, value in tags.items() if key.startswith(OF_ALL)}
        own = {
            REPRO: tags["dvc.run"],
            "mlflow.source.name": "dvc repro",
            "mlflow.note.content": "One `dvc repro`. The page with all results is its artifact results/index.html.",
        }
        name = tags.get("dvc.exp.name") or f"dvc repro {when}"
        return self.client.create_run(self.experiment, began, kept | own, name).info.run_id

    def _send_results(self, results: dict[str, Any], files: Path) -> None:
        from mlflow.entities import Metric

        whole = self._of_repro(results["tags"], results["time"])
        metrics = [Metric(key, value, results["time"], 0) for key, value in results["numbers"].items()]
        self.client.log_batch(whole, metrics)
        self.client.set_terminated(whole, "FINISHED", results["time"])
        for name in results["files"]:
            self.client.log_artifact(whole, str(files / name), "results")


def _move(database: Path, before: str, now: str) -> None:
    """Tell MLflow's database that the project was moved: it keeps whole addresses of pictures and models."""
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        for table, column in PLACES:
            condition = f"substr({column}, 1, ?) = ?"
            moved = f"update {table} set {column} = ? || substr({column}, ?) where {condition}"
            db.execute(moved, (now, len(before) + 1, len(before), before))


def _dataset_inputs(datasets: list[dict[str, Any]]) -> list[Any]:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                *(dataset["name"], dataset["digest"], "local", json.dumps(dataset["source"])),
                profile=json.dumps({"num_rows": dataset["images"]}),
            ),
            [InputTag("mlflow.data.context", dataset["context"])],
        )
        for dataset in datasets
    ]
