"""MLflow's pages over a project's runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from hw1.run import ui
from hw1.run.errors import InputError
from hw1.run.runs_table import VIEWS
from hw1.run.sender import deliver
from hw1.run.tracking import Tracker

ROOT = Path(__file__).parents[2]


def test_port_that_is_taken_is_not_chosen(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(ui, "PORT", taken)
        assert ui.free_port() != taken
    assert ui.free_port() == taken


def test_pages_without_runs_say_how_to_get_some(root):
    with pytest.raises(InputError, match=r"mlflow\.db: no runs yet; run `dvc repro` first"):
        ui.main()


def test_server_that_is_away_is_told_in_a_line(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9: no experiment hw1 there"):
        ui.main()


def test_server_that_ends_says_its_last_line(tmp_path):
    log = tmp_path / "log"
    log.write_text("first\nno such option\n")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with pytest.raises(InputError, match="mlflow ui: no such option"):
        ui._await(ended, "http://127.0.0.1:9", log)


def test_pages_list_the_trainings_at_the_address_that_is_printed_and_end_when_told(root):
    for stage in ("classify@A", "finetune@C"):
        with Tracker.start(stage, {}, {}):
            pass
    assert deliver(root / ".mlflow") == ""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hw1.run.ui"]
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as pages:
        told = dict(pages.stdout.readline().split() for _ in VIEWS)
        assert list(told) == ["trainings", "repros"]
        address, _, page = told["trainings"].partition("/#")
        number = page.split("/")[2]
        query = {"experiment_ids": [number], "filter": json.loads(VIEWS["trainings"])["searchFilter"]}
        request = urllib.request.Request(f"{address}/api/2.0/mlflow/runs/search", json.dumps(query).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            runs = json.load(answer)["runs"]
        assert sorted(run["info"]["run_name"] for run in runs) == ["classify@A", "finetune@C"]
        key = urllib.parse.parse_qs(page.partition("?")[2])["viewStateShareKey"][0]
        with urllib.request.urlopen(f"{address}/api/2.0/mlflow/experiments/get?experiment_id={number}") as answer:
            tags = {tag["key"]: tag["value"] for tag in json.load(answer)["experiment"]["tags"]}
        assert tags[f"mlflow.sharedViewState.{key}"] == VIEWS["trainings"]
        pages.send_signal(signal.SIGTERM)
        pages.wait(60)
    with pytest.raises(OSError):
        urllib.request.urlopen(address, timeout=5)
