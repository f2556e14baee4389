"""A trained model as MLflow keeps it: logged with its run, and a version in the registry where the store has one.

Each model is a folder that MLflow loads as a ``python_function``: weights, the code that reads them, and MLmodel,
which names the loader, :mod:`hw1.predict.pyfunc`. Nothing in it is pickled.
"""

import filecmp
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from hw1.run.files import link
from hw1.run.record import Record

LOADER = "hw1.predict.pyfunc"
NEEDED = ("mlflow", "numpy", "pandas", "pillow", "ruamel.yaml", "safetensors", "torch", "torchvision", "tqdm")
SCORES = ("val_miou", "val_accuracy")  # by which versions are compared: the first that a training has
LACKING = ("ENDPOINT_NOT_FOUND", "FEATURE_DISABLED", "NOT_IMPLEMENTED")  # of a store that keeps no such thing


def send_model(client: Any, experiment: str, run: str, record: Record) -> None:
    """The model of a run, once, however often it is sent."""
    if not os.path.isdir(record.model["folder"]):  # sent already, by a sender that was killed after it
        return
    with _passing_over_what_the_store_lacks():
        model = _logged(client, experiment, run, record)
        _measure(client, run, model, record)
        _register(client, run, model, record)


def _logged(client: Any, experiment: str, run: str, record: Record) -> Any:
    """The logged model; made, filled and declared ready if need be."""
    from mlflow.entities import LoggedModelOutput

    card, name = record.model["card"], record.start["name"].replace("@", "-")
    found = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run}'", max_results=1)
    if found:
        model = found[0]
    else:
        tags = {"git.commit": record.tags.get("git.commit", ""), "network": str(card.get("network", ""))}
        model = client.create_logged_model(experiment, name, run, tags, record.params, card.get("stage", ""))
    if str(model.status) != "READY":
        folder = Path(record.model["folder"])
        _describe(folder, record, run, model.model_id)
        _upload(client, model, folder, record)
        client.finalize_logged_model(model.model_id, "READY")
    outputs = client.get_run(run).outputs
    if model.model_id not in {output.model_id for output in (outputs.model_outputs if outputs else ())}:
        client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
    return model


def _describe(folder: Path, record: Record, run: str, model: str) -> None:
    """The files beside weights and code by which MLflow loads the model, and installs what it needs."""
    from mlflow import pyfunc
    from mlflow.models import Model

    described = Model(run_id=run, model_id=model, model_uuid=model, metadata=record.model["card"])
    pyfunc.add_to_model(described, LOADER, record.model["file"], "code", python_env="python_env.yaml")
    described.save(folder / "MLmodel")
    needed = [f"{package}=={importlib.metadata.version(package)}" for package in NEEDED]
    (folder / "requirements.txt").write_text("\n".join(needed) + "\n")
    environment = f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n"
    (folder / "python_env.yaml").write_text(environment)


def _upload(client: Any, model: Any, folder: Path, record: Record) -> None:
    """The folder to where the model's files are kept; on this machine as hard links.

    DVC keeps a copy of the stage's output in its cache and links the output to that; so does the model then, and takes
    no space of its own.
    """
    place = urlparse(model.artifact_location)
    if place.scheme != "file":
        client.log_model_artifacts(model.model_id, str(folder))
        return
    weights, output = folder / record.model["file"], Path(record.model["output"])
    with suppress(OSError):  # an experiment's folder is gone by now
        if filecmp.cmp(weights, output, shallow=False):
            link(output, weights)
    shutil.copytree(folder, unquote(place.path), copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    link(Path(source), Path(target))


def _measure(client: Any, run: str, model: Any, record: Record) -> None:
    """The scores after the last epoch, tied to the model and to the images that they are of."""
    from mlflow.entities import Metric

    data = next((each for each in record.datasets if each["context"] == "validation"), None)
    tied = {"model_id": model.model_id, "run_id": run}
    if data:
        tied |= {"dataset_name": data["name"], "dataset_digest": data["digest"]}
    last = max((step for key, _, _, step in record.metrics if key in SCORES), default=None)
    scores = [Metric(*each, **tied) for each in record.metrics if each[0].startswith("val_") and each[3] == last]
    if scores:
        client.log_batch(run, scores)


def _register(client: Any, run: str, model: Any, record: Record) -> None:
    """A version of ``hw1-{stage}``: ``current`` names the latest, ``best`` the one with the highest score of those that
    were scored on the same images as the latest.
    """
    from mlflow.exceptions import MlflowException

    name = f"hw1-{record.start['name'].replace('@', '-')}"
    try:
        client.create_registered_model(name, description=f"Trained by the stage `{record.start['name']}` of dvc.yaml.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name}'", max_results=1000, order_by=["version_number DESC"])
    if run not in {version.run_id for version in versions}:
        made = client.create_model_version(
            name, model.artifact_location, run, _standing(record), model_id=model.model_id, await_creation_for=0
        )
        versions = [made, *versions]
    current = max(versions, key=lambda version: int(version.tags.get("trained", 0)))
    rivals = [version for version in versions if version.tags.get("data") == current.tags.get("data")]
    best = max(rivals, key=lambda version: (float(version.tags.get("score", "-inf")), int(version.version)))
    for alias, version in (("current", current), ("best", best)):
        client.set_registered_model_alias(name, alias, version.version)


def _standing(record: Record) -> dict[str, str]:
    """Tags of a version: when it was trained, its score, and the digest of the images that it was scored on."""
    tags = {"trained": str(record.start["time"]), "git.commit": record.tags.get("git.commit", "")}
    last = {key: value for key, value, _, _ in record.metrics}
    for key in SCORES:
        if key in last:
            tags |= {"score": str(last[key]), "score.name": key}
            break
    tags["data"] = next((each["digest"] for each in record.datasets if each["context"] == "validation"), "")
    return {key: value for key, value in tags.items() if value}


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
