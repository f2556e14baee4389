"""A process that reproduces one stage as ``dvc repro --single-item`` would; the engine forks one for each.

It leads a process group of its own, so that a signal reaches each stage once. It does not answer SIGINT itself: the
stage does, and then DVC is not cut short while it writes. After SIGTERM, or when the engine is gone, the stage is told
to end, and the worker ends with it.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw1.repro.graph import Task, opened, patiently
from hw1.run.errors import InputError
from hw1.run.files import lock
from hw1.run.parameters.params import Params
from hw1.run.processes.numerics import cores
from hw1.run.processes.supervision import REPRO, STOP

if TYPE_CHECKING:
    from dvc.stage import Stage

POLL = 0.5  # seconds between two looks at the engine
WAIT = 0.05  # seconds between two tries to get DVC's lock; DVC's own are 0.5
MEMORY = 1.5 * 2**30  # bytes of main memory for a stage, quick's largest takes 1.1 GiB
RAN, RESTORED, UNCHANGED = "ran", "restored", "unchanged"
COUNT_GPUS = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # blocked by the engine until the worker answers them


# -- how many


def default_jobs(params: Params) -> int:
    """Count as many workers as there are GPUs for, or where none is used as the cores and the memory are enough for."""
    per_stage = params.launch.devices
    if params.runtime.device != "cpu" and (gpus := _gpus()):
        return max(1, gpus * params.launch.trainings_per_gpu // per_stage)
    import psutil  # comes with dvc

    threads = params.runtime.threads or cores()
    return max(1, min(cores() // (threads * per_stage), int(psutil.virtual_memory().available // MEMORY)))


def _gpus() -> int:
    """Count what torch sees; it is not loaded into this process, and not at all without a driver."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    done = subprocess.run([sys.executable, "-c", COUNT_GPUS], capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 else 0


# -- the process


def load_dvc() -> None:
    """Load what workers need of it, so that those forked from this process have it."""
    import dvc.lock
    import dvc.repo.reproduce
    import dvc.stage.cache

    dvc.lock.DEFAULT_TIMEOUT = 6 * WAIT  # DVC tries again after a sixth


def work(task: Task, force: bool, log: Path, engine: int, result: Connection) -> None:
    """Reproduce a stage in this process, forked from the engine of that number, and send how, or the InputError."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, _note)  # a handler and not SIG_IGN, which the stage would inherit
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_follow, args=(engine,), daemon=True).start()
    try:
        outcome = reproduce(task, force, log)
    except InputError as error:
        outcome = error
    with suppress(OSError):  # the engine is gone
        result.send(outcome)


def _note(*_: object) -> None:
    """Let a stage that is only about to begin end at once."""
    os.environ[STOP] = str(int(signal.SIGINT))


def _end(*_: object) -> None:
    _note()
    os.killpg(0, signal.SIGINT)


def _follow(engine: int) -> None:
    while os.getppid() == engine:
        time.sleep(POLL)
    os.kill(os.getpid(), signal.SIGTERM)


# -- a stage


def reproduce(task: Task, force: bool, log: Path) -> str:
    """Do what there is to do for a stage: RAN, RESTORED from DVC's cache, or UNCHANGED. What it prints goes to ``log``.

    Raises:
        InputError: with DVC's words, if the stage fails, or what it depends on was changed while it ran.
    """
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    if not lock(output, wait=False):  # held by whatever writes to it, so by a worker whose engine was killed
        print("another process runs it; waiting for its end", flush=True)
        lock(output)
    if task.label:
        os.environ["DVC_EXP_NAME"] = task.label.replace(" ", "-")
        os.environ[REPRO] += f" {task.label}"
    commands: list[str] = []

    def hear(record: logging.LogRecord) -> bool:
        """Note that DVC runs a command, which it says only here; nothing of it is shown."""
        if str(record.msg).startswith("Running stage"):
            commands.append(record.getMessage())
        return False

    logging.getLogger("dvc").setLevel(logging.WARNING)
    logging.getLogger("dvc.stage.run").setLevel(logging.INFO)
    logging.getLogger("dvc.stage.run").addFilter(hear)
    options = {"single_item": True, "force": force, "repro_fn": _reproduce}
    with opened(task.folder) as repo:
        done = patiently(lambda: repo.reproduce(task.stage, **options))
    return UNCHANGED if not done else RAN if commands else RESTORED


def _reproduce(stage: "Stage", **options: Any) -> "Stage | None":
    """Reproduce a stage as DVC does, but compare what it depends on before and after.

    DVC takes the hashes when the command has ended (its issue 11058): what was edited meanwhile would be recorded as
    what the outputs come from. Here nothing is recorded then, and the stage stays one that must run.
    """
    from dvc.stage.exceptions import StageCmdFailedError

    before = [_state(dep) for dep in stage.deps]
    try:
        done = stage.reproduce(**options, no_commit=True)
    except StageCmdFailedError as error:
        raise InputError(f"ended with status {str(error).rpartition(' ')[2]}, its lines are above") from None
    if done:
        if not stage.frozen:
            _compare(stage, before)
        stage.repo.stage_cache.save(stage)
        stage.commit()
        stage.dump(update_pipeline=False)
    return done


def _state(dep: Any) -> Any:
    from dvc.exceptions import DvcException

    with suppress(DvcException, OSError):  # missing, which DVC says itself
        return dep.get_hash()


def _compare(stage: "Stage", before: list[Any]) -> None:
    changed = []
    for dep, earlier in zip(stage.deps, before, strict=True):
        if dep.hash_info != earlier:
            old, new = (getattr(info, "value", None) for info in (earlier, dep.hash_info))
            parameters = isinstance(old, dict) and isinstance(new, dict)
            keys = sorted(key for key in new if old.get(key) != new[key]) if parameters else ()
            changed.append(f"{dep} ({', '.join(keys)})" if keys else str(dep))
    if changed:
        raise InputError(f"{', '.join(changed)} changed while it ran; its outputs are not recorded, it must run again")
