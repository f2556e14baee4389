"""A project's root with tracking on, without the process that sends."""

from pathlib import Path

import pytest
from mlflow_server import Server

from hw1.run.tracking import tracking
from hw1.run.tracking.sender import Store, deliver


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """No sender is started."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name in ("HW1_TRACKING", "HW1_TRACKING_MODELS", "DVC_STAGE", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # so that what a test leaves there goes with it
        monkeypatch.delenv(name)
    monkeypatch.setattr(tracking, "_start_sender", lambda folder: None)
    return tmp_path


@pytest.fixture
def store(root) -> Store:
    """The database in the root, by MLflow's own client."""
    return Store.connect(root)


@pytest.fixture
def deliver_until(root, store, monkeypatch):
    """A function that delivers to a server that dies right after a method of the client."""

    def deliver_until(method: str) -> None:
        original = getattr(type(store.client), method)

        def dies_after(*arguments, **options):
            original(*arguments, **options)
            raise ConnectionError("the server died")

        with monkeypatch.context() as patch:
            patch.setattr(type(store.client), method, dies_after)
            assert deliver(root / ".mlflow") == "MLflow failed: the server died"

    return deliver_until


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "server")
    server.start()
    yield server
    server.kill()
