"""``python -m hw1.run.ui``: MLflow's pages over the runs of this project, on this machine alone, until Ctrl-C.

Prints where the tables lie, of trainings and of whole ``dvc repro``s. Where ``MLFLOW_TRACKING_URI`` is a server's
address, they are that server's and nothing is started.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

from hw1.run.errors import InputError
from hw1.run.files import project_root
from hw1.run.mlflow_store import EXPERIMENT
from hw1.run.runs_table import VIEWS
from hw1.run.supervision import run_stage

HOST, PORT = "127.0.0.1", 5000
PATIENCE = 180.0  # seconds until the pages must be there; MLflow's start takes 10, beside trainings many more
POLL = 0.2  # seconds between two looks
ANSWER = 10.0  # seconds that a server may take


def main() -> None:
    root = project_root()
    store = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    if store.startswith(("http://", "https://")):
        return print(_tables(store))
    if store == f"sqlite:///{root / 'mlflow.db'}" and not (root / "mlflow.db").exists():
        raise InputError(f"{root / 'mlflow.db'}: no runs yet; run `dvc repro` first")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, "--host", HOST, "--port", str(port)]
    command += ["--workers", "1"]  # each of them imports all of MLflow
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = root / ".mlflow" / "ui.log"
    log.parent.mkdir(exist_ok=True)
    with open(log, "w") as file:
        server = subprocess.Popen(command, env={**os.environ, **quiet}, stdout=file, stderr=file)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server must not be left behind
    try:
        _await(server, f"http://{HOST}:{port}", log)
        print(f"{_tables(f'http://{HOST}:{port}')}\nCtrl-C ends it.", flush=True)
        server.wait()
    except KeyboardInterrupt:
        print()
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    """``PORT``, or where it is taken any that is free."""
    for port in (PORT, 0):
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was closed a moment ago is free
            try:
                free.bind((HOST, port))
                return free.getsockname()[1]
            except OSError:
                continue
    raise InputError(f"{HOST}: no free port; end another server")


def _await(server: subprocess.Popen, address: str, log: Path) -> None:
    """Until the pages answer; InputError with the server's last line if it ends, or is not there in time."""
    deadline = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        try:
            return _get(f"{address}/health").close()
        except OSError:
            time.sleep(POLL)
    last = (log.read_text().strip().splitlines() or ["no answer"])[-1]
    raise InputError(f"mlflow ui: {last}; all it said is in {log}")


def _tables(address: str) -> str:
    """A line for each view of the experiment's runs, with its address."""
    address, query = address.rstrip("/"), urllib.parse.urlencode({"experiment_name": EXPERIMENT})
    try:
        with _get(f"{address}/api/2.0/mlflow/experiments/get-by-name?{query}") as answer:
            number = json.load(answer)["experiment"]["experiment_id"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{address}: no experiment {EXPERIMENT} there ({error}); run `dvc repro` first") from None
    page = f"{address}/#/experiments/{number}/runs?viewStateShareKey="
    return "\n".join(f"{name:<10} {page}{name}" for name in VIEWS)


def _get(url: str):
    return urllib.request.urlopen(url, timeout=ANSWER)


if __name__ == "__main__":
    run_stage(main)
