"""A real MLflow server, on SQLite or PostgreSQL, and what its database holds."""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/nowhere"))  # where Debian has it


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Server:
    """A real MLflow server on a database of its own."""

    def __init__(self, folder: Path, database: str = "sqlite:///server.db"):
        self.port, self.folder, self.database = free_port(), folder, database
        self.uri = f"http://127.0.0.1:{self.port}"
        folder.mkdir()

    def start(self) -> None:
        with open(self.folder / "log", "a") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.database),
                    *("--workers", "1", "--host", "127.0.0.1", "--port", str(self.port)),
                ],
                cwd=self.folder,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 180  # busy cores
        while True:
            try:
                return urllib.request.urlopen(f"{self.uri}/health").close()
            except urllib.error.URLError:
                assert self._process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.1)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Postgres:
    """A PostgreSQL cluster of its own in a folder, on a port of this machine; as root, by the user postgres."""

    def __init__(self, folder: Path):
        folder.mkdir(mode=0o700)
        self.folder, self.port = folder, free_port()
        self._as = []
        if os.getuid() == 0:  # whom initdb refuses
            shutil.chown(folder, "postgres", "postgres")
            self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._run("initdb", "-D", str(folder), "-A", "trust", "-U", "hw1", "--no-sync")
        options = f"-h 127.0.0.1 -p {self.port} -k {folder} -F"
        self._run("pg_ctl", "-D", str(folder), "-o", options, "-l", str(folder / "log"), "-w", "start")
        self.uri = f"postgresql+psycopg2://hw1@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder), "-m", "immediate", "stop")
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(POSTGRES / program), *arguments]
        done = subprocess.run(command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        assert done.returncode == 0, done.stdout.decode()


def runs_in(database: Path) -> list[dict]:
    """Name, status and metrics (key, step, value) of every training's run in a database."""
    trainings = "select run_uuid, name, status from runs where run_uuid in (select run_uuid from tags where key = ?)"
    with sqlite3.connect(database) as db:
        return [
            {
                "name": name,
                "status": status,
                "metrics": sorted(db.execute("select key, step, value from metrics where run_uuid = ?", (run,))),
            }
            for run, name, status in db.execute(f"{trainings} order by name", ("hw1.events",))
        ]
