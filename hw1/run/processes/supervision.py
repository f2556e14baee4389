"""Beginning and end of a stage: its arguments, its errors, its signals, and the process that started it.

SIGINT and SIGTERM end a stage with status 130 and 143 and one line; drafts of outputs are removed on the
way. A training asks for time (:func:`deferred`) to end its step and write its state. A second signal, a
second or more after the first, ends the process at once, unless SLURM started it as a rank. When the process
that started the stage is gone (``dvc`` was killed), the stage takes it for a SIGTERM.
"""

import atexit
import contextlib
import errno
import gc
import os
import signal
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from hw1.run.errors import InputError

SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh", "fish"}  # what DVC may put between itself and a stage
POLL = 0.5  # seconds between two looks at the parent
ADVICE_ON = {  # what a user can mend, by errno
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM): "free some space or mend the permissions",
    (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.ENAMETOOLONG): "mend the path",
}
ADVICE = "run `dvc repro` to go on from here"
SENT_ON = "HW1_RANKS"  # in the environment of ranks: who started them, and speaks for them
STOP = "HW1_STOP"  # in that of a stage: the signal that came before the stage began
REPRO = "HW1_REPRO"  # in that of stages that run side by side: the identity of what runs them all
TWICE = 1.0  # seconds after which a signal counts as a second one: a terminal and `make` may both send the first

_received: int | None = None
_when = 0.0
_deferred = False
_advice = ""


def stage_arguments(purpose: str, name: str = "", choices: Collection[str] | None = None, **paths: str) -> Namespace:
    """Parse the command line of a stage, as dvc.yaml writes it.

    Args:
        purpose: the stage's docstring.
        name: of the argument that says which one of several it is, such as ``model``; none if empty.
        choices: what it may be; anything if None.
        paths: what each path is; all of them must be given, as ``--{name}``.
    """
    parser = ArgumentParser(description=purpose)
    if name:
        parser.add_argument(name, choices=choices)
    for path, meaning in paths.items():
        parser.add_argument(f"--{path}", type=Path, required=True, help=meaning)
    return parser.parse_args()


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's ``main``: what a user can mend becomes one line on stderr and exit status 1."""
    gc.enable()  # imports are done, see stages/__init__.py
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        advice = next((text for numbers, text in ADVICE_ON.items() if error.errno in numbers), None)
        if advice is None:
            raise
        sys.exit(f"error: {error.filename or 'output'}: {error.strerror}; {advice}")


def watch() -> None:
    """Answer signals, and end when the parent ends; once, before anything else is imported."""
    answer_signals(ADVICE)
    if STOP in os.environ:
        os.kill(os.getpid(), int(os.environ[STOP]))
    # Started by hand under nohup, a stage outlives its shell on purpose.
    if "DVC_STAGE" in os.environ or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        threading.Thread(target=_follow, args=(ancestors(),), daemon=True).start()


def answer_signals(advice: str) -> None:
    """End with status 130 or 143 and one line, which ends in ``advice``."""
    global _advice
    _advice = advice
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _answer)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """A signal in the block is only noted, for :func:`stop_requested`; it takes effect at the block's end."""
    with _deferral(True):
        yield
    if not _deferred and stop_requested():
        stop()


@contextlib.contextmanager
def undeferred() -> Iterator[None]:
    """Inside :func:`deferred`: signals raise SystemExit again, also one that is noted already."""
    with _deferral(False):
        if stop_requested():
            stop()
        yield


@contextlib.contextmanager
def _deferral(on: bool) -> Iterator[None]:
    global _deferred
    before, _deferred = _deferred, on
    try:
        yield
    finally:
        _deferred = before


def stop_requested() -> int:
    """The signal that asked the stage to end, or 0."""
    return _received or 0


def stop(number: int | None = None) -> None:
    """End the stage with the status of the signal received, or of one that another process of its received."""
    raise SystemExit(128 + (number or _received))


def ended_by(number: int) -> None:
    """End the stage as by a signal that others of its processes, or a handler in the place of ours, received."""
    global _received
    _received = _received or number
    atexit.register(_tell)
    stop()


def _answer(number: int, _: object) -> None:
    global _received, _when
    if _received is not None:
        # srun sends the ranks that are left one when the first has ended, though one may still write the state.
        if time.monotonic() - _when >= TWICE and os.environ.get(SENT_ON) != "slurm":
            os._exit(128 + number)
        return
    _received, _when = number, time.monotonic()
    if SENT_ON not in os.environ:
        atexit.register(_tell)
    if not _deferred:
        stop()


def _tell() -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"stopped by {signal.Signals(_received).name}; {_advice}", file=sys.stderr)


def _follow(before: list[int]) -> None:
    while ancestors() == before:
        time.sleep(POLL)
    if not stop_requested():
        os.kill(os.getpid(), signal.SIGTERM)


def ancestors() -> list[int]:
    """The parent's process number, and its own parent's where it is but a shell of DVC's."""
    parent = os.getppid()
    with contextlib.suppress(OSError):  # no /proc: DVC's shell replaces itself by the stage
        if "DVC_STAGE" in os.environ and Path(f"/proc/{parent}/comm").read_text().strip() in SHELLS:
            return [parent, int(_status(parent)[1])]
    return [parent]


def repro() -> str:
    """The identity of the ``dvc repro`` that this stage belongs to, or of what runs its stages side by side."""
    return os.environ.get(REPRO) or identity(ancestors()[-1])


def identity(process: int) -> str:
    """A process's number with the tick of the system's clock at which it began: no later one has both."""
    try:
        return f"{process}-{_status(process)[19]}"
    except OSError:  # no /proc
        return str(process)


def _status(process: int) -> list[str]:
    """State, parent's number and more of a process, from proc_pid_stat(5), after its name in brackets."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
