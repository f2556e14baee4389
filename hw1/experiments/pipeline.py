"""DVC's command line and its lock file, as the commands of this package use them."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from hw1.run.errors import InputError

POLL = 3.0  # seconds between two looks at the queue
OWN_REFS = ("apply", "celery", "exec", "stash")  # DVC's own under refs/exps


def dvc(*arguments: str) -> str:
    """Output of a dvc command with this Python first on the PATH; InputError with its last lines if it fails."""
    done = _run(sys.executable, "-m", "dvc", *arguments)
    if done.returncode:
        raise InputError(f"dvc {' '.join(arguments)}: {_last_words(done)}")
    return done.stdout


def up_to_date(target: str) -> bool:
    """Whether ``dvc repro`` of the target would do nothing, the stages before it included."""
    return _run(sys.executable, "-m", "dvc", "status", "-q", "--with-deps", target).returncode == 0


def git(*arguments: str) -> str:
    """Output of a git command; InputError if it fails."""
    done = _run("git", *arguments)
    if done.returncode:
        raise InputError(f"git {arguments[0]}: {_last_words(done)}")
    return done.stdout


def _run(*command: str) -> subprocess.CompletedProcess:
    """A finished command; its output goes through files, as a worker it leaves behind would keep a pipe open."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        done = subprocess.run(command, stdout=out, stderr=err, env={**os.environ, "PATH": path})
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


def _last_words(done: subprocess.CompletedProcess) -> str:
    return " ".join(f"{done.stdout} {done.stderr}".split())[-500:]


def identity(lock: str, target: str, apart_from: str) -> str:
    """Hex digits that change with whatever determines the target's outputs, but for one parameter.

    From the text of a lock file: commands, parameters, source files and the archive of the target and of all
    stages before it.
    """
    stages = yaml.safe_load(lock)["stages"]
    makers = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", ())}
    waiting, chain = [target], {}
    while waiting:
        name = waiting.pop()
        if name not in chain:
            chain[name], before = _inputs(stages[name], makers, apart_from)
            waiting += before
    archive = {out["path"]: out["md5"] for out in stages["download"]["outs"]}
    return hashlib.sha256(json.dumps([chain, archive], sort_keys=True).encode()).hexdigest()


def apart(parameters: str, key: str) -> tuple[Any, dict[str, Any]]:
    """From the text of a parameter file: the value under a dotted key, and all others; InputError without it."""
    tree = node = yaml.safe_load(parameters)
    *folders, last = key.split(".")
    for folder in folders:
        node = node.get(folder) if isinstance(node, dict) else None
    if not isinstance(node, dict) or last not in node:
        raise InputError(f"{key}: not in params.yaml")
    return node.pop(last), tree


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


def wait_for(names: Iterable[str]) -> None:
    """Wait until every experiment is finished, saying which are; InputError with the log's end if one fails."""
    waiting, begun, missed = set(names), time.monotonic(), set()
    while waiting:
        time.sleep(POLL)
        status = dvc("queue", "status")
        tasks, finished = tasks_in(status), experiments()
        for name in sorted(waiting & finished.keys()):
            print(f"{name}: done after {time.monotonic() - begun:.0f} s", file=sys.stderr)
        waiting -= finished.keys()
        # DVC lists what runs before what waits: a task may slip through between the two, but not twice.
        absent = {name for name in waiting if tasks.get(name) not in ("Queued", "Running")}
        for name in sorted(absent & missed):
            log = _last_words(_run(sys.executable, "-m", "dvc", "queue", "logs", name))
            raise InputError(f"{name} failed (`dvc queue logs {name}`): {log}")
        if waiting and missed >= waiting and workers_in(status) == 0:
            raise InputError(f"no worker of DVC's queue is running for {', '.join(sorted(waiting))}; call this again")
        missed = absent if workers_in(status) else waiting


def tasks_in(status: str) -> dict[str, str]:
    """From the text of ``dvc queue status``: Queued, Running, Failed or Success by the experiment's name."""
    rows = (line.split() for line in status.splitlines())
    return {row[1]: row[-1] for row in rows if len(row) >= 3 and row[-1] in ("Queued", "Running", "Failed", "Success")}


def workers_in(status: str) -> int:
    """From the same text: workers that are there, busy or not."""
    found = re.search(r"Worker status: (\d+) active, (\d+) idle", status)
    return int(found[1]) + int(found[2]) if found else 0
