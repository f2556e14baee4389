"""The time, place and code of a training: tags of its run in MLflow, and a record kept beside its result.

A date in an output would give it another hash at each run. So the record lies under ``.mlflow/trained`` in the
project's root, by the SHA-256 of the history that the training wrote: results that come from DVC's cache find the
record of the run that made them, and results from elsewhere have none.
"""

import getpass
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hw1.run.files import project_root, sha256, whole_file
from hw1.run.processes.supervision import repro

KEPT = Path(".mlflow/trained")
# What makes a tree dirty; outputs change at every run.
CODE = ("hw1", "stages", "dvc.yaml", "params.yaml", "environment.json")
PACKAGES = ("torch", "torchvision", "numpy", "dvc", "mlflow")


def surroundings(stage: str) -> dict[str, str]:
    """Tags of where a run happens: commit, whether the code differs from it, DVC's names, versions; MLflow's own, by
    which its pages fill the columns Source, Version, Created by and Description; ``dvc.run`` is one for all runs of a
    ``dvc repro``.
    """
    commit = _git("rev-parse", "HEAD")
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's number without a name
        user = str(os.getuid())
    tags = {
        "mlflow.source.name": f"dvc repro {stage}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit,
        "mlflow.user": user,
        "mlflow.note.content": f"Stage `{stage}` of dvc.yaml. The parent run has the page with all results.",
        "dvc.run": repro(),
        "dvc.stage": os.environ.get("DVC_STAGE", ""),
        "dvc.exp.name": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.exp.baseline_rev": os.environ.get("DVC_EXP_BASELINE_REV", ""),
        "git.commit": commit,
        "git.dirty": str(bool(_git("status", "--porcelain", "--", *CODE))).lower(),
        "version.python": sys.version.split()[0],
    }
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            tags[f"version.{package}"] = importlib.metadata.version(package)
    return {key: value for key, value in tags.items() if value}


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def keep_record(history: Path, record: Mapping[str, str]) -> None:
    """Keep the record of the training that wrote this history, in place of an older one of the same bytes."""
    folder = project_root() / KEPT
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{sha256(history)}.json") as draft:
        draft.write_text(json.dumps(dict(record), indent=1) + "\n", encoding="utf-8")


def record_of(history: Path) -> dict[str, str] | None:
    """Read the record of the training that wrote this history; None where none is kept."""
    with suppress(OSError, ValueError):
        return json.loads((project_root() / KEPT / f"{sha256(history)}.json").read_text(encoding="utf-8"))
    return None
