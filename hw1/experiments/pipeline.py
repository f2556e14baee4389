"""DVC's commands, and what it records of the pipeline, as the commands of this package use them.

dvc is imported in the functions that need it: reading results must not wait for it.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw1.run.errors import InputError
from hw1.run.supervision import deferred, stop_requested

POLL = 0.2  # seconds between two looks at a command and at the signals


def dvc(*arguments: str, timeout: float | None = None) -> str:
    """Output of a dvc command; InputError with its last lines if it fails, or takes longer than that many seconds."""
    done = attempt(*arguments, timeout=timeout)
    if done.returncode:
        raise InputError(f"dvc {' '.join(arguments)}: {last_words(done)}")
    return done.stdout


def attempt(*arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess:
    """A dvc command that may fail; its output goes through files, as a worker it leaves would keep a pipe open."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            done = subprocess.run(**_command(*arguments), stdout=out, stderr=err, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            return subprocess.CompletedProcess(error.cmd, 1, "", f"no answer in {timeout:.0f} s")
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())


def follow(*arguments: str) -> None:
    """Run a dvc command with its output on stderr, and end it as Ctrl-C does when this process is to end.

    In a process group of its own it gets that signal once, and has the time to tidy up that ``subprocess.run``,
    interrupted, would not give it. InputError if it fails.
    """
    with deferred():
        command = subprocess.Popen(**_command(*arguments), stdout=sys.stderr, process_group=0)
        told = False
        while command.poll() is None:
            if stop_requested() and not told:
                os.killpg(command.pid, signal.SIGINT)  # SIGTERM would end dvc and leave its stage
                told = True
            time.sleep(POLL)
    if command.returncode:
        raise InputError(f"dvc {' '.join(arguments)}: failed as told above")


def _command(*arguments: str) -> dict[str, Any]:
    """What subprocess needs to run dvc with this Python first on the PATH, as its stages call ``python``."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {"args": (sys.executable, "-m", "dvc", *arguments), "env": {**os.environ, "PATH": path}}


def last_words(done: subprocess.CompletedProcess) -> str:
    """The end of a command's output, as one line."""
    return " ".join(f"{done.stdout} {done.stderr}".split())[-500:]


def head() -> str:
    """The commit that an experiment begun now starts from; InputError outside git."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    if done.returncode:
        raise InputError(
            f"experiments are commits and need git (`git init && git add . && git commit -m start`): {last_words(done)}"
        )
    return done.stdout.strip()


def up_to_date(target: str) -> bool:
    """Whether ``dvc repro`` of the target would do nothing, the stages before it included."""
    return attempt("status", "-q", "--with-deps", target).returncode == 0


def finished() -> list[str]:
    """Names of the finished experiments of all commits."""
    return sorted(set(dvc("exp", "list", "--all-commits", "--name-only").split()))


def text_of(path: str, experiment: str) -> str:
    """A file as an experiment left it; InputError where it has none, or DVC takes the name for several."""
    import dvc.api
    from dvc.exceptions import DvcException

    try:
        return dvc.api.read(path, rev=experiment)
    except (DvcException, OSError) as error:
        raise InputError(f"{path} of experiment {experiment}: {error}") from None


def parameters_of(experiment: str | None = None) -> dict[str, Any]:
    """params.yaml of an experiment, or of the working tree; InputError as for :func:`text_of`."""
    import dvc.api
    from dvc.exceptions import DvcException

    try:
        return dvc.api.params_show("params.yaml", rev=experiment)
    except (DvcException, OSError) as error:
        raise InputError(f"params.yaml of {experiment or 'the working tree'}: {error}") from None


def identity(lock: str, target: str, apart_from: str) -> str:
    """Hex digits that change with whatever determines the target's outputs, but for one parameter.

    From the text of a lock file: commands, parameters, versions of packages, source files and the archive of the
    target, a stage or all of one name such as ``evaluate``, and of all stages before it.
    """
    from dvc.utils.serialize import parse_yaml

    stages = parse_yaml(lock, "dvc.lock")["stages"]
    makers = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", ())}
    waiting, chain = [name for name in stages if target in (name, name.partition("@")[0])], {}
    if not waiting:
        raise InputError(f"{target}: not in dvc.lock; run `dvc repro` first")
    while waiting:
        name = waiting.pop()
        if name not in chain:
            chain[name], before = _inputs(stages[name], makers, apart_from)
            waiting += before
    archive = {out["path"]: out["md5"] for out in stages["download"]["outs"]}
    return hashlib.sha256(json.dumps([chain, archive], sort_keys=True).encode()).hexdigest()


def _inputs(stage: Mapping[str, Any], makers: Mapping[str, str], apart_from: str) -> tuple[dict[str, Any], list[str]]:
    """What a stage reads that no other stage makes, and the stages that make the rest."""
    parameters = {file: dict(values) for file, values in stage.get("params", {}).items()}
    parameters.get("params.yaml", {}).pop(apart_from, None)
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
