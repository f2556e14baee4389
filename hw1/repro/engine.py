"""Run the stages of a plan, as many at a time as there are workers, each after what it needs.

What to run next comes from the standard library's ``graphlib``. Of stages that are ready, the one with the longest way
to the end begins first, by the seconds that an earlier run took.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from graphlib import TopologicalSorter
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from hw1.repro.graph import Needs, Plan, Task, keep_order, locked, makespan, record, recorded, to_the_end
from hw1.repro.screen import Log, Screen
from hw1.repro.worker import RAN, RESTORED, SIGNALS, UNCHANGED, load_dvc, work
from hw1.run.errors import InputError
from hw1.run.processes.supervision import REPRO, answer_signals, deferred, identity, stop_requested
from hw1.run.progress import SCREEN, clock

LOGS = Path(".dvc/tmp/repro")
POLL = 0.1  # seconds between two looks at the stages
SHOWN = 4  # names of stages in the line on a failure
SAID = {RAN: "done in", RESTORED: "restored from DVC's cache in", UNCHANGED: "up to date after"}


def run(plan: Plan, jobs: int, force: bool = False, root: Path = Path()) -> Counter[str]:
    """Do what there is to do for the stages of a plan; return how many RAN, were RESTORED or UNCHANGED.

    When one fails, no other begins and those that run come to their end. A signal goes to each stage that runs, which
    writes its state; then this process ends. Logs and times lie in the ``root``'s .dvc/tmp/repro.

    Raises:
        InputError: a stage failed.
    """
    counts = Counter({UNCHANGED: len(plan.up_to_date)})
    if not plan.todo:
        return counts
    before = {folder: locked(folder) for folder in {task.folder for task in plan.needs}}
    try:
        with deferred():
            counts += _Run(plan.todo, jobs, force, root.resolve()).complete()
    finally:
        for folder, names in before.items():
            keep_order(folder, names, [task.stage for task in plan.needs if task.folder == folder])
    return counts


def end_on_signals() -> None:
    """End by a signal, a terminal's that is closed too, with one line; while stages run, after them."""
    answer_signals("what is done is kept; the same command goes on from here")
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))


def summary(counts: Counter[str], seconds: float) -> str:
    """One line on a run that came to its end."""
    if not counts[RAN] and not counts[RESTORED]:
        return f"all {counts.total()} stages are up to date"
    parts = f"{counts[RAN]} ran, {counts[RESTORED]} restored, {counts[UNCHANGED]} up to date"
    return f"{counts.total()} stages in {clock(seconds)}: {parts}"


class _Run:
    def __init__(self, needs: Needs, jobs: int, force: bool, root: Path):
        self._needs, self._jobs, self._force, self._root = needs, min(jobs, len(needs)), force, root
        self._known = recorded(root)
        self._seconds = {task: self._known[task.stage] for task in needs if task.stage in self._known}
        self._ways = to_the_end(needs, self._seconds if self._all_known() else dict.fromkeys(needs, 1.0))
        self._sorter = TopologicalSorter(needs)
        self._sorter.prepare()
        self._ready: list[Task] = []
        self._running: dict[Connection, tuple[BaseProcess, Log]] = {}  # by where their outcomes come from
        self._done: dict[Task, str] = {}
        self._failed: dict[Task, str] = {}

    def complete(self) -> Counter[str]:
        signalled = False
        load_dvc()  # once, by this process, from which the workers are forked
        with _environment(self._root), Screen(self._summary) as screen:
            while self._running or (self._sorter.is_active() and not self._failed and not signalled):
                if not self._failed and not signalled:
                    self._begin(screen)
                for result in wait(self._running, timeout=POLL):
                    self._end(result, screen)
                if stop_requested() and not signalled:
                    for process, _ in self._running.values():
                        with suppress(ProcessLookupError):
                            os.killpg(process.pid, signal.SIGINT)
                    signalled = True
                screen.refresh()
        # Of a stage that never ran here, how long it took to see that it need not.
        new = (task for task, how in self._done.items() if how == RAN or task.stage not in self._known)
        record(self._root, {task.stage: self._seconds[task] for task in new})
        if self._failed and not signalled:
            raise InputError(self._failure())
        return Counter(self._done.values())

    def _begin(self, screen: Screen) -> None:
        """Begin as many of the stages that are ready as may run, those with the longest ways first."""
        self._ready = sorted([*self._ready, *self._sorter.get_ready()], key=self._ways.__getitem__, reverse=True)
        while self._ready and len(self._running) < self._jobs:
            task = self._ready.pop(0)
            log = Log(task, self._root / LOGS / f"{task.name}.log")
            screen.print(f"{task.name}: begins")
            screen.logs.append(log)
            result, sender = multiprocessing.Pipe(duplex=False)
            arguments = (task, self._force, log.path, os.getpid(), sender)
            process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            process.start()
            with suppress(OSError):  # done by the process itself; whichever is first, the group is there
                os.setpgid(process.pid, process.pid)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            sender.close()
            self._running[result] = process, log

    def _end(self, result: Connection, screen: Screen) -> None:
        process, log = self._running.pop(result)
        task, seconds = log.task, time.monotonic() - log.begun
        outcome = None
        with suppress(EOFError):  # it ended without a word
            outcome = result.recv()
        process.join()
        screen.end(log)
        if outcome is None:
            outcome = InputError("its worker was killed" if process.exitcode < 0 else "its worker failed, see above")
        if isinstance(outcome, InputError):
            self._failed[task] = str(outcome)
            return
        self._done[task], self._seconds[task] = outcome, seconds
        screen.print(f"{task.name}: {SAID[outcome]} {clock(seconds)}")
        self._sorter.done(task)

    def _all_known(self) -> bool:
        return all(task in self._seconds for task in self._needs)

    def _summary(self) -> str:
        counts = f"{len(self._done)} of {len(self._needs)} stages done, {len(self._running)} running"
        waiting = len(self._needs) - len(self._done) - len(self._running) - len(self._failed)
        rest = "time left not known before a whole run"
        if self._all_known():
            now = time.monotonic()
            running = {
                log.task: max(0.0, self._seconds[log.task] - now + log.begun) for _, log in self._running.values()
            }
            needs = {task: needs for task, needs in self._needs.items() if task not in self._done}
            rest = f"{clock(makespan(needs, self._seconds, self._jobs, running))} left"
        return f"{counts}, {waiting} waiting, {rest}"

    def _failure(self) -> str:
        """The one line on the stages that failed."""
        reasons = "; ".join(f"{task.name}: {reason}" for task, reason in self._failed.items())
        waiting = [task.name for task in self._needs if task not in self._done and task not in self._failed]
        more = f" and {len(waiting) - SHOWN} more" if len(waiting) > SHOWN else ""
        rest = f"; not run: {', '.join(waiting[:SHOWN])}{more}" if waiting else ""
        return f"{reasons}{rest}; what is done is kept, the same command goes on from here"


@contextmanager
def _environment(root: Path) -> Iterator[None]:
    """Set what stages find in their environment while they run side by side."""
    before = dict(os.environ)
    os.environ[REPRO] = identity(os.getpid())
    os.environ["DVC_ROOT"] = str(root)  # where states of trainings and records lie
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if sys.stdout.isatty():
        os.environ[SCREEN] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
