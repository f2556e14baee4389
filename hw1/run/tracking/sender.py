"""Sends the events that stages have left in ``.mlflow/`` to ``MLFLOW_TRACKING_URI``, or to mlflow.db in the root.

``python -m hw1.run.tracking.sender`` sends what is there and ends; with ``--wait``, as stages start it, one process
does so for all of them until nothing is left. What cannot be sent stays in its file, for the next sender.
"""

import os
import re
import sys
import time
from pathlib import Path

from hw1.run.files import lock
from hw1.run.processes.supervision import run_stage
from hw1.run.tracking.mlflow_store import Store
from hw1.run.tracking.tracking import is_written, spool

PATIENCE = 300.0  # seconds between two deliveries beside a training: the first imports MLflow, 4 s of a core
QUIET = 10.0  # seconds without a writer after which no training is disturbed; DVC takes 2 between two stages
POLL = 1.0  # seconds between two looks at the files
TOO_MUCH = r"(//)[^/@]*@|^.*\(Caused by "  # of an error to tell: a password in an address, what is not the cause


def deliver(folder: Path) -> str:
    """Send what the files hold and delete the ended ones; what failed first (also in ``trouble.txt``), or ""."""
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
