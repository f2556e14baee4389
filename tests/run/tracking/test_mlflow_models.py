"""A trained network from a stage's record to MLflow's registry and back, on a file, and by a server on PostgreSQL."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from closure import ROOT
from mlflow_server import POSTGRES, Postgres, Server
from PIL import Image

from hw1.classify.classifiers import build_classifier
from hw1.engine.card import Card, save_model
from hw1.engine.weights import read_metadata
from hw1.run.parameters.params import flat, load
from hw1.run.tracking.sender import LOADER, NEEDED, Store, deliver
from hw1.run.tracking.tracking import Tracker

NAME = "hw1-classify-A"


@pytest.fixture
def weights(tmp_path) -> Path:
    """An untrained network of P1 with its card, where a stage would leave it."""
    params = load(ROOT / "presets/quick.yaml")
    torch.manual_seed(0)
    used = flat(params, "seed", "runtime", "classify.A") | {"runtime.device": "cpu"}
    card = Card("classify@A", 1, 5, "made up", 36, 32, "bicubic", used)
    save_model(build_classifier(params.classify.A, 5), tmp_path / "weights.safetensors", card)
    return tmp_path / "weights.safetensors"


def train(weights: Path, accuracy: float = 0.5, digest: str = "") -> None:
    """The record of a training whose data have a manifest of their own."""
    data = weights.parent / "p1"
    data.mkdir(exist_ok=True)
    (data / "manifest.json").write_text(digest)
    with Tracker.start("classify@A", {"lr": 0.1}, {"device": "cpu"}) as tracker:
        tracker.log_dataset(data, "made up", {"train": 8, "validation": 4}, trained_on=True)
        tracker.log_epoch({"epoch": 1, "train_loss": 2.0, "val_accuracy": 0.1})
        tracker.log_epoch({"epoch": 2, "train_loss": 1.0, "val_accuracy": accuracy})
        tracker.log_model(weights, read_metadata(weights))


def runs(store: Store) -> list:
    return store.client.search_runs([store.experiment], "tags.`hw1.events` LIKE '%'")


def aliases(store: Store) -> dict[str, int]:
    return {alias: int(version) for alias, version in store.client.get_registered_model(NAME).aliases.items()}


PREDICT = """
import sys, mlflow
model = mlflow.pyfunc.load_model("models:/hw1-classify-A@current")
import hw1
print(hw1.__path__[0] if hasattr(hw1, "__path__") else hw1.__file__)
print(*model.predict(sys.argv[1:])["label"])
"""


def predicted(uri: str, folder: Path, *pictures: Path) -> tuple[str, list[int]]:
    """Where the code came from, and the labels, in a process that has nothing of the project but the registry."""
    environment = os.environ | {"PYTHONPATH": "", "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", PREDICT, *map(str, pictures)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    code, labels = done.stdout.splitlines()[-2:]
    return code, [int(label) for label in labels.split()]


@pytest.fixture
def postgres(tmp_path):
    if not (POSTGRES / "initdb").exists():
        pytest.skip("PostgreSQL's server is not installed here (apt-get install postgresql)")
    pytest.importorskip("psycopg2", reason="psycopg2-binary is not installed: MLflow cannot speak to PostgreSQL")
    cluster = Postgres(Path(f"/tmp/hw1-postgres-{os.getpid()}"))  # pytest's own folders are closed to other users
    yield cluster
    cluster.stop()


@pytest.fixture(params=["file", "postgres"])
def uri(request, root, monkeypatch):
    """Where the runs go: by default, or to a server on PostgreSQL that takes uploads."""
    if request.param == "file":
        return f"sqlite:///{root / 'mlflow.db'}"
    server = Server(root / "server", request.getfixturevalue("postgres").uri)
    request.addfinalizer(server.kill)
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    return server.uri


def test_trained_network_comes_back_from_the_registry_and_predicts_a_picture(uri, root, weights, tmp_path):
    train(weights)
    before = weights.read_bytes()
    weights.unlink()  # as DVC does before it runs a stage again
    weights.write_bytes(b"of another training")
    assert deliver(root / ".mlflow") == ""
    (kept,) = (path for path in root.rglob("weights.safetensors") if path != weights)
    assert kept.read_bytes() == before and not kept.is_symlink() and kept.stat().st_nlink == 1
    store = Store.connect(root)
    (run,) = runs(store)
    read = {each.dataset.name: each.tags[0].value for each in run.inputs.dataset_inputs}
    assert read == {"p1-train": "training", "p1-validation": "validation"}
    (logged,) = store.client.search_logged_models([store.experiment])
    assert [output.model_id for output in run.outputs.model_outputs] == [logged.model_id]
    assert {each.key: each.value for each in logged.metrics} == {"train_loss": 1.0, "val_accuracy": 0.5}
    assert aliases(store) == {"current": 1}
    picture = tmp_path / "elsewhere" / "picture.png"
    picture.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)).save(picture)
    code, (first, second) = predicted(uri, picture.parent, picture, picture)
    assert code.endswith("code/hw1") and first == second
    assert not list((root / ".mlflow").glob("*.jsonl*")) and not list((root / ".mlflow").glob("*/"))


def test_model_loads_and_new_ones_lie_where_the_project_is_after_it_was_moved(tmp_path, monkeypatch, weights):
    """Into a folder whose name means something in an address."""
    picture = tmp_path / "picture.png"
    Image.new("RGB", (40, 40)).save(picture)
    monkeypatch.delenv("HW1_TRACKING", raising=False)
    monkeypatch.setattr("hw1.run.tracking.tracking._start_sender", lambda folder: None)
    for folder in ("first", "a?b # c"):
        root = tmp_path / folder
        root.mkdir() if folder == "first" else (tmp_path / "first").rename(root)
        monkeypatch.setenv("DVC_ROOT", str(root))
        monkeypatch.chdir(root)
        train(weights)
        send = [sys.executable, "-m", "hw1.run.tracking.sender"]  # MLflow keeps what a process has opened
        subprocess.run(send, cwd=root, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert not [path for path in tmp_path.iterdir() if "mlflow" in path.name]  # a database beside the folder
    store = Store.connect(root)
    assert aliases(store) == {"current": 2}
    monkeypatch.setattr(sys.modules[__name__], "PREDICT", PREDICT.replace("@current", "/1"))  # of before it was moved
    _, labels = predicted("sqlite:///mlflow.db", root, picture)
    assert len(labels) == 1
    assert len(list((root / "mlartifacts").rglob("weights.safetensors"))) == 2


def test_version_sent_late_is_not_the_current_one(root, store, weights):
    train(weights, 0.5)
    (first,) = (root / ".mlflow").glob("*.jsonl")
    train(weights, 0.4)
    hidden = first.rename(root / "hidden")
    assert deliver(root / ".mlflow") == ""
    hidden.rename(first)
    assert deliver(root / ".mlflow") == ""
    assert aliases(store) == {"current": 1}


DYING = ["create_logged_model", "log_model_artifacts", "finalize_logged_model", "log_outputs", "set_logged_model_tags"]


@pytest.mark.parametrize("method", DYING)
def test_model_sent_in_part_and_then_again_is_one(method, root, store, weights, deliver_until):
    train(weights)
    deliver_until(method)
    (run,) = runs(store)
    assert run.info.status == "FINISHED" and run.data.metrics["val_accuracy"] == 0.5  # whole without its model
    assert deliver(root / ".mlflow") == ""
    (logged,) = store.client.search_logged_models([store.experiment])
    run = store.client.get_run(run.info.run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [logged.model_id]
    assert str(logged.status) == "READY" and len(logged.metrics) == 2
    assert [version.source for version in store.client.search_model_versions()] == [logged.model_uri]
    assert aliases(store) == {"current": 1}
    assert not list((root / ".mlflow").glob("*.jsonl"))


@pytest.mark.parametrize("method", ["create_logged_model", "create_registered_model", "off"])
def test_run_without_models_is_kept_where_the_store_has_none_or_no_registry_or_they_are_off(
    method, root, store, weights, monkeypatch
):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

    def absent(*arguments, **options):
        raise MlflowException("404", error_code=ENDPOINT_NOT_FOUND)

    if method == "off":
        monkeypatch.setenv("HW1_TRACKING_MODELS", "off")
    else:
        monkeypatch.setattr(type(store.client), method, absent)
    train(weights)
    assert deliver(root / ".mlflow") == ""
    assert not list((root / ".mlflow").glob("*.jsonl"))
    assert len(store.client.search_logged_models([store.experiment])) == (method == "create_registered_model")
    assert len(runs(store)) == 1


def test_requirements_name_every_package_that_the_loader_imports():
    from test_dag import external_closure

    called = {"PIL": "pillow", "ruamel": "ruamel.yaml"}
    imported = {called.get(name, name) for name in external_closure(LOADER)} - {"hw1"}
    assert imported <= set(NEEDED)
