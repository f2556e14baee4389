"""A trained model as MLflow keeps it: logged with its run, and a version in the registry where the store has one.

Each is a copy of its own, which MLflow loads as a ``python_function``: weights, the code that reads them, and MLmodel,
which names the loader, :mod:`hw1.predict.pyfunc`. Nothing in it is pickled.
"""

import importlib.metadata
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hw1.run.tracking.record import Record

LOADER = "hw1.predict.pyfunc"
NEEDED = ("mlflow", "numpy", "pandas", "pillow", "ruamel.yaml", "safetensors", "torch", "torchvision", "tqdm")
LACKING = ("ENDPOINT_NOT_FOUND", "FEATURE_DISABLED", "NOT_IMPLEMENTED")  # of a store that keeps no such thing


def send_model(client: Any, experiment: str, run: str, record: Record, files: Path) -> None:
    """The model of a run, from the folder of its weights and code; once, however often it is sent."""
    if files.is_dir():  # else it was sent, by a sender that was killed after it
        with _passing_over_what_the_store_lacks():
            model = _logged(client, experiment, run, record, files)
            _measure(client, run, model, record)
            _register(client, run, model, record)


def _logged(client: Any, experiment: str, run: str, record: Record, files: Path) -> Any:
    """The logged model; made, filled and declared ready if need be."""
    from mlflow import pyfunc
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    card, name = record.model["card"], record.start["name"].replace("@", "-")
    found = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run}'", max_results=1)
    if found:
        model = found[0]
    else:
        tags = {"git.commit": record.tags.get("git.commit", ""), "network": str(card.get("network", ""))}
        model = client.create_logged_model(experiment, name, run, tags, record.params, card.get("stage", ""))
    if str(model.status) != "READY":
        with tempfile.TemporaryDirectory() as folder:
            pyfunc.save_model(
                f"{folder}/model",
                loader_module=LOADER,
                data_path=str(files / record.model["file"]),
                code_paths=[str(files / "hw1")],
                pip_requirements=[f"{package}=={importlib.metadata.version(package)}" for package in NEEDED],
                mlflow_model=Model(run_id=run, model_id=model.model_id, metadata=card),
            )
            client.log_model_artifacts(model.model_id, f"{folder}/model")
        client.finalize_logged_model(model.model_id, "READY")
    outputs = client.get_run(run).outputs
    if model.model_id not in {output.model_id for output in (outputs.model_outputs if outputs else ())}:
        client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
    return model


def _measure(client: Any, run: str, model: Any, record: Record) -> None:
    """The scores after the last epoch, tied to the model and to the images that they are of."""
    from mlflow.entities import Metric

    data = next((each for each in record.datasets if each["context"] == "validation"), None)
    tied = {"model_id": model.model_id, "run_id": run}
    if data:
        tied |= {"dataset_name": data["name"], "dataset_digest": data["digest"]}
    last = max((step for _, _, _, step in record.metrics), default=None)
    scores = [Metric(*each, **tied) for each in record.metrics if each[0].startswith("val_") and each[3] == last]
    if scores:
        client.log_batch(run, scores)


def _register(client: Any, run: str, model: Any, record: Record) -> None:
    """A version of ``hw1-{stage}``; the alias ``current`` names that of the latest training."""
    from mlflow.exceptions import MlflowException

    name = f"hw1-{record.start['name'].replace('@', '-')}"
    try:
        client.create_registered_model(name, description=f"Trained by the stage `{record.start['name']}` of dvc.yaml.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name}'", max_results=1000)
    if run not in {version.run_id for version in versions}:
        tags = {"trained": str(record.start["time"]), "git.commit": record.tags.get("git.commit", "")}
        made = client.create_model_version(
            name, model.artifact_location, run, tags, model_id=model.model_id, await_creation_for=0
        )
        versions = [made, *versions]
    current = max(versions, key=lambda version: int(version.tags.get("trained", 0)))
    client.set_registered_model_alias(name, "current", current.version)


@contextmanager
def _passing_over_what_the_store_lacks() -> Iterator[None]:
    """An older server, or one without a registry, keeps what it can."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

    try:
        with suppress(UnsupportedModelRegistryStoreURIException):
            yield
    except MlflowException as error:
        if error.error_code not in LACKING:
            raise
