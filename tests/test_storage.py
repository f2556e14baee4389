"""An S3-compatible server as DVC's remote, on 127.0.0.1, with credentials from the environment alone."""

import subprocess
import sys
import time
import urllib.request

import pytest
from mlflow_server import free_port
from tiny_project import Project, tiny

for package in ("moto", "dvc_s3"):
    pytest.importorskip(package, reason=f"{package} is not installed (extra: servers)")

KEYS = {"AWS_ACCESS_KEY_ID": "of-this-test", "AWS_SECRET_ACCESS_KEY": "only", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """URL of a server with an empty bucket named results."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    path = tmp_path_factory.mktemp("server") / "log"
    with open(path, "w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(urllib.request.Request(f"{url}/results", method="PUT")).close()
                break
            except OSError:
                assert time.monotonic() < deadline, path.read_text()
                time.sleep(0.2)
        yield url
        server.terminate()


@pytest.fixture(scope="module")
def project(address, tmp_path_factory):
    """A project with an archive and start weights, and the bucket as DVC's remote."""
    project = Project(tmp_path_factory.mktemp("project"), tiny(), HW1_TRACKING="off", OMP_NUM_THREADS="1", **KEYS)
    project.run("dvc", "repro", "-q", "download", "initialise")
    project.run("dvc", "remote", "add", "-d", "storage", "s3://results/hw1")
    project.run("dvc", "remote", "modify", "storage", "endpointurl", address)
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "results and where they are kept")
    return project


def test_without_credentials_nothing_is_sent(project, tmp_path, monkeypatch):
    without = {key: value for key, value in project.environment.items() if key not in (*KEYS, "AWS_PROFILE")}
    without |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    with monkeypatch.context() as patch:
        patch.setattr(project, "environment", without)
        assert "Unable to locate credentials" in project.run("dvc", "push", "download", status=255)


def test_results_go_to_a_bucket_and_come_back_into_another_clone(project, tmp_path):
    assert not any(value in (project.folder / ".dvc/config").read_text() for value in KEYS.values())
    project.run("dvc", "push", "-q", "download", "initialise")
    clone = tmp_path / "clone"
    project.run("git", "clone", "-q", ".", str(clone))
    project.run("sh", "-c", f"cd {clone} && dvc pull -q download initialise")
    for path in ("data/raw/hw1_data.zip", "models/backbone/scratch.safetensors"):
        assert (clone / path).read_bytes() == (project.folder / path).read_bytes()
