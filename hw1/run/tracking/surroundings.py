"""What a record says of where it was made: commit, user, versions, and which ``dvc repro``."""

import getpass
import importlib.metadata
import os
import subprocess
import sys

from hw1.run.processes.supervision import repro

# What makes a tree dirty; outputs change at every run.
CODE = ("hw1", "stages", "dvc.yaml", "params.yaml", "environment.json")
PACKAGES = ("torch", "torchvision", "numpy", "dvc", "mlflow")


def surroundings(stage: str) -> dict[str, str]:
    """Tags of where a run happened: commit, whether the code differs from it, DVC's names, versions; MLflow's own, by
    which its pages fill the columns Source, Version, Created by and Description; and one for all runs of one ``dvc
    repro``.
    """
    commit = _git("rev-parse", "HEAD")
    tags = {
        "mlflow.source.name": f"dvc repro {stage}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit,
        "mlflow.user": _user(),
        "mlflow.note.content": f"Stage `{stage}` of dvc.yaml. The parent run has the page with all results.",
        "dvc.run": repro(),
        "dvc.stage": os.environ.get("DVC_STAGE", ""),
        "dvc.exp.name": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.exp.baseline_rev": os.environ.get("DVC_EXP_BASELINE_REV", ""),
        "git.commit": commit,
        "git.dirty": str(bool(_git("status", "--porcelain", "--", *CODE))).lower(),
        "version.python": sys.version.split()[0],
    }
    tags |= {f"version.{package}": _version(package) for package in PACKAGES}
    return {key: value for key, value in tags.items() if value}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's number without a name
        return str(os.getuid())


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
