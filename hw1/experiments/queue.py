"""DVC's queue: what is in it, taking something out, and waiting for it, which ends when the queue stands still.

Its workers are known to stop with tasks left (DVC's issue 10562), not to be counted while they run (10427), and a
task whose worker was killed runs for ever in DVC's eyes (8702). So what counts as running here is a task whose
process is there, with a worker above it. ``dvc exp show`` itself fails, and now and then hangs, when a worker removes
the folder that it is reading; such a look is made again.
"""

import contextlib
import json
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from hw1.experiments.pipeline import attempt, dvc, last_words
from hw1.run.errors import InputError

POLL = 12.0  # seconds between two looks, each of which costs a core two
LOOK = 30.0  # seconds, after which a look hangs
STILL = 30.0  # seconds without a task that runs, after which the queue stands still; between two tasks go a few
ENDING = 60.0  # seconds that a training has to write its state
# Of several experiments with one name: a lost task stays in DVC's books after the same has been trained anew.
ORDER = ("running", "queued", "success", "failed", "lost")


class Task(NamedTuple):
    """An experiment in DVC's books: one of ORDER, the commit it starts from, the number of its process or None."""

    state: str
    commit: str
    process: int | None


def tasks(*selection: str, timeout: float = LOOK) -> dict[str, Task]:
    """Experiments by name, with options of ``dvc exp show``; without, those that start from HEAD.

    InputError if DVC cannot tell, or not in time: for moments while a task begins or ends, for ever if its worker was
    killed then.
    """
    found: dict[str, list[Task]] = {}
    for commit in json.loads(dvc("exp", "show", "--json", "--hide-workspace", *selection, timeout=timeout)):
        for entry in commit["experiments"] or ():
            found.setdefault(entry["name"], []).append(_task(commit["rev"], entry["executor"]))
    return {name: min(entries, key=lambda task: ORDER.index(task.state)) for name, entries in found.items()}


def _task(commit: str, executor: Mapping[str, Any] | None) -> Task:
    """From what ``dvc exp show`` says of where an experiment runs, which is nothing for an older finished one."""
    if executor is None:
        return Task("success", commit, None)
    process = (executor["local"] or {}).get("pid")
    if executor["state"] != "running" or _runs(process, in_queue=executor["name"] == "dvc-task"):
        return Task(executor["state"], commit, process)
    return Task("lost", commit, process)


def _runs(process: int | None, in_queue: bool) -> bool:
    """Whether it is a ``dvc exp`` command and, if in the queue, has another one above it: the worker."""
    own, above = _command_lines(process)
    return "exp" in own and (not in_queue or "exp" in above)


def _command_lines(process: int | None) -> tuple[list[str], list[str]]:
    """A process's words and its parent's; empty if there is none."""
    import psutil  # comes with dvc

    if process is not None:
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(process)
            return found.cmdline(), found.parent().cmdline() if found.parent() else []
    return [], []


def take_out(name: str, task: Task) -> None:
    """Take a task that does not run out of the queue; a lost one's process is ended first, and writes its state."""
    own, _ = _command_lines(task.process)
    if task.state == "lost" and (not own or "exp" in own):  # or its number is a stranger's by now
        attempt("queue", "kill", name)
        end = time.monotonic() + ENDING
        while _command_lines(task.process)[0] and time.monotonic() < end:
            time.sleep(0.5)
        attempt("queue", "kill", name)  # without a process it is taken for failed
    attempt("queue", "remove", name)  # what waits, and what has not begun to run when its worker was killed
    attempt("queue", "remove", name)  # what failed: only of tasks that do not wait


def wait_for(names: Iterable[str], commits: Iterable[str]) -> set[str]:
    """Wait for experiments, saying which are finished; returns those that are left when the queue stands still.

    ``commits`` are those they start from. InputError with the log's end if one fails.
    """
    waiting, begun = set(names), time.monotonic()
    selection = [word for commit in commits for word in ("--rev", commit)]
    moved = begun
    while waiting:
        time.sleep(POLL)
        still = time.monotonic() - moved > STILL
        seen = _look("--all-commits") if still else _look(*selection)  # workers may train what starts from others
        done = {name for name in waiting if name in seen and seen[name].state == "success"}
        for name in sorted(done):
            print(f"{name}: done after {time.monotonic() - begun:.0f} s", file=sys.stderr)
        waiting -= done
        for name in sorted(waiting & seen.keys()):
            if seen[name].state == "failed":
                log = last_words(attempt("queue", "logs", name))
                raise InputError(f"{name} failed (`dvc queue logs {name}`): {log}")
        if done or any(task.state == "running" for task in seen.values()):
            moved = time.monotonic()
        elif still:
            break
    return waiting


def known(names: Collection[str]) -> dict[str, Task]:
    """What DVC has in its books under these names, whatever commit they start from; lost where it cannot tell."""
    for _ in range(3):
        with contextlib.suppress(InputError):
            # The first look at all commits takes about half a second for each.
            return {name: task for name, task in tasks("--all-commits", timeout=20 * LOOK).items() if name in names}
        time.sleep(POLL)
    return dict.fromkeys(names, Task("lost", "", None))


def _look(*selection: str) -> dict[str, Task]:
    """As :func:`tasks`; empty where DVC cannot tell."""
    try:
        return tasks(*selection)
    except InputError:
        return {}
