"""DVC's command line and its lock file, as the commands of this package use them."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from hw1.errors import InputError

POLL = 3.0  # seconds between two looks at the queue
OWN_REFS = ("apply", "celery", "exec", "stash")  # DVC's own under refs/exps


def dvc(*arguments: str) -> str:
    """Output of a dvc command with this Python first on the PATH; InputError with its last lines if it fails."""
    done = _run(sys.executable, "-m", "dvc", *arguments)
    if done.returncode:
        raise InputError(f"dvc {' '.join(arguments)}: {' '.join(done.stdout.split())[-500:]}")
    return done.stdout


def up_to_date(target: str) -> bool:
    """Whether ``dvc repro`` of the target would do nothing."""
    return _run(sys.executable, "-m", "dvc", "status", "-q", target).returncode == 0


def git(*arguments: str) -> str:
    """Output of a git command; InputError if it fails."""
    done = _run("git", *arguments)
    if done.returncode:
        raise InputError(f"git {arguments[0]}: {done.stdout.strip()}")
    return done.stdout


def _run(*command: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PATH": path}
    )


def identity(lock: Path, target: str, apart_from: str) -> str:
    """Hex digits that change with whatever determines the target's outputs, but for one parameter.

    From a lock file that is up to date: commands, parameters, source files and the archive of the target and of
    all stages before it.
    """
    stages = yaml.safe_load(lock.read_text())["stages"]
    makers = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", ())}
    waiting, chain = [target], {}
    while waiting:
        name = waiting.pop()
        if name not in chain:
            chain[name], before = _inputs(stages[name], makers, apart_from)
            waiting += before
    archive = {out["path"]: out["md5"] for out in stages["download"]["outs"]}
    return hashlib.sha256(json.dumps([chain, archive], sort_keys=True).encode()).hexdigest()


def _inputs(stage: Mapping[str, Any], makers: Mapping[str, str], apart_from: str) -> tuple[dict[str, Any], list[str]]:
    """What a stage reads that no other stage makes, and the stages that make the rest."""
    parameters = dict(stage.get("params", {}).get("params.yaml", {}))
    parameters.pop(apart_from, None)
    files, before = {}, []
    for dep in stage.get("deps", ()):
        path = dep["path"]
        # A stage makes the file itself, a folder around it, or something in the folder that it is.
        made_by = [
            name for out, name in makers.items() if f"{path}/".startswith(f"{out}/") or out.startswith(f"{path}/")
        ]
        before += made_by
        if not made_by:
            files[path] = dep["md5"]
    return {"cmd": stage["cmd"], "parameters": parameters, "files": files}, before


def experiments() -> dict[str, str]:
    """Finished experiments: name -> git reference."""
    references = git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    kept = (reference for reference in references if reference.split("/")[2] not in OWN_REFS)
    return {reference.rpartition("/")[2]: reference for reference in kept}


def queued() -> dict[str, str]:
    """Status (Queued, Running, Failed, Success) of each task of the queue by its experiment's name."""
    found = {}
    for line in dvc("queue", "status").splitlines():
        cells = line.split()
        if len(cells) >= 3 and cells[-1] in ("Queued", "Running", "Failed", "Success"):
            found[cells[1]] = cells[-1]
    return found


def wait_for(names: Iterable[str], told: float) -> None:
    """Wait until every experiment is finished, saying which are; InputError with the log's end if one fails."""
    waiting = set(names)
    while waiting:
        time.sleep(POLL)
        finished, tasks = experiments(), queued()
        for name in sorted(waiting):
            if name in finished:
                print(f"{name}: done after {time.monotonic() - told:.0f} s", file=sys.stderr)
                waiting.discard(name)
            elif tasks.get(name) in ("Failed", None):
                log = _run(sys.executable, "-m", "dvc", "queue", "logs", name).stdout.strip()
                raise InputError(f"{name} failed: {' '.join(log.split())[-500:]} (`dvc queue logs {name}`)")
