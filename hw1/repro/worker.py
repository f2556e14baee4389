"""A process that runs stages, one after another, as ``dvc repro --single-item`` would; the engine has several.

Each leads a process group of its own, so that a signal reaches each stage once. It does not answer SIGINT itself: the
stage does, and then DVC is not cut short while it writes. After SIGTERM, or when the engine is gone, the stage is told
to end, and the worker ends with it.
"""

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw1.repro.graph import Task, opened, patiently
from hw1.run.errors import InputError
from hw1.run.files import lock
from hw1.run.processes.supervision import REPRO, STOP

if TYPE_CHECKING:
    from dvc.stage import Stage

POLL = 0.5  # seconds between two looks at the engine
RAN, RESTORED, UNCHANGED = "ran", "restored", "unchanged"

_busy = threading.Lock()
_ending = False


def begin(engine: int) -> None:
    """Make this process, forked from the engine of that number, a worker."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, _note)  # a handler and not SIG_IGN, which the stage would inherit
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else _end)
    threading.Thread(target=_follow, args=(engine,), daemon=True).start()
    logging.getLogger("dvc").setLevel(logging.WARNING)


def _note(*_: object) -> None:
    """A stage that is only about to begin is to end at once."""
    os.environ[STOP] = str(int(signal.SIGINT))


def _end(*_: object) -> None:
    global _ending
    _ending = True
    if not _busy.locked():
        os._exit(128 + signal.SIGTERM)
    _note()
    os.killpg(0, signal.SIGINT)


def _follow(engine: int) -> None:
    while os.getppid() == engine:
        time.sleep(POLL)
    os.kill(os.getpid(), signal.SIGTERM)


def reproduce(task: Task, force: bool, log: Path) -> str:
    """Do what there is to do for a stage: RAN, RESTORED from DVC's cache, or UNCHANGED. What it prints goes to ``log``.

    Raises:
        InputError: with DVC's words, if the stage fails, or what it depends on was changed while it ran.
    """
    with _busy:
        _write_to(log)
        if not lock(1, wait=False):  # held by whatever writes there, so by a worker whose engine was killed
            print("another process runs it; waiting for its end", flush=True)
            lock(1)
        if task.of:
            os.environ["DVC_EXP_NAME"] = task.of.replace(" ", "-")
            os.environ[REPRO] = f"{os.environ[REPRO].partition(' ')[0]} {task.of}"
        try:
            with opened(task.folder) as repo, _Heard() as heard:
                options = {"single_item": True, "force": force, "repro_fn": _reproduce}
                done = patiently(lambda: repo.reproduce(task.stage, **options))
            return UNCHANGED if not done else RAN if heard.running else RESTORED
        finally:
            sys.stdout.flush()
            _write_to(Path(os.devnull))
            if _ending:
                os._exit(128 + signal.SIGTERM)


def _write_to(path: Path) -> None:
    """Let this process's output, and that of the stages that it starts, end there."""
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)


class _Heard(logging.Handler):
    """Whether DVC says, while it is at work, that it runs a command."""

    running = False

    def __enter__(self) -> "_Heard":
        self._logger = logging.getLogger("dvc.stage.run")
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.running |= str(record.msg).startswith("Running stage")


def _reproduce(stage: "Stage", **options: Any) -> "Stage | None":
    """As DVC does it, but what it depends on is compared before and after.

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
            values = [getattr(info, "value", None) for info in (earlier, dep.hash_info)]
            keys = ()
            if all(isinstance(value, dict) for value in values):  # of a file of parameters
                keys = sorted(key for key in values[1] if values[0].get(key) != values[1][key])
            changed.append(f"{dep} ({', '.join(keys)})" if keys else str(dep))
    if changed:
        raise InputError(f"{', '.join(changed)} changed while it ran; its outputs are not recorded, it must run again")
