"""Run the stages of a plan, as many at a time as there are workers, each after what it needs.

What to run next comes from the standard library's ``graphlib``, the workers from its ``concurrent.futures``. Of stages
that are ready, the one with the longest way to the end begins first, by the seconds that an earlier run took.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from graphlib import TopologicalSorter
from pathlib import Path

from hw1.repro import times
from hw1.repro.graph import Plan, Task, keep_order, load_dvc, locked
from hw1.repro.screen import Log, Screen
from hw1.repro.worker import RAN, RESTORED, UNCHANGED, begin, reproduce
from hw1.run.errors import InputError
from hw1.run.processes.supervision import REPRO, answer_signals, deferred, identity, stop_requested
from hw1.run.progress import SCREEN, clock

LOGS = Path(".dvc/tmp/repro")
POLL = 0.1  # seconds between two looks at the stages
SAID = {RAN: "done in", RESTORED: "restored from DVC's cache in", UNCHANGED: "up to date after"}


def run(plan: Plan, jobs: int, force: bool = False, root: Path = Path()) -> Counter[str]:
    """Do what there is to do for the stages of a plan; how many RAN, were RESTORED or UNCHANGED.

    When one fails, no other begins and those that run come to their end. A signal goes to each stage that runs, which
    writes its state; then this process ends. Logs and times lie in the ``root``'s .dvc/tmp/repro.

    Raises:
        InputError: a stage failed.
    """
    told = Counter({UNCHANGED: len(plan.up_to_date)})
    if len(plan.up_to_date) == len(plan.needs):
        return told
    folders = sorted({task.folder for task in plan.needs})
    before = {folder: locked(folder) for folder in folders}
    try:
        with deferred():
            told += _Run(plan, jobs, force, root.resolve())()
    finally:
        for folder in folders:
            keep_order(folder, before[folder], [task.stage for task in plan.needs if task.folder == folder])
    return told


def end_on_signals() -> None:
    """End by a signal, a terminal's that is closed too, with one line; while stages run, after them."""
    answer_signals("what is done is kept; the same command goes on from here")
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))


class _Run:
    def __init__(self, plan: Plan, jobs: int, force: bool, root: Path):
        self._needs = {
            task: needs - plan.up_to_date for task, needs in plan.needs.items() if task not in plan.up_to_date
        }
        self._jobs, self._force, self._root = min(jobs, len(self._needs)), force, root
        before = times.recorded(root)
        self._seconds = {task: before[task.stage] for task in self._needs if task.stage in before}
        ways = times.to_the_end(self._needs, self._seconds if self._all_known() else dict.fromkeys(self._needs, 1.0))
        self._first = ways.__getitem__
        self._ready: list[Task] = []
        self._running: dict[Future[str], Log] = {}
        self._done: dict[Task, str] = {}
        self._failed: dict[Task, str] = {}

    def __call__(self) -> Counter[str]:
        sorter = TopologicalSorter(self._needs)
        sorter.prepare()
        told = False
        with _Surroundings(self._root), self._pool() as pool, Screen(self._summary) as screen:
            groups = [process.pid for process in multiprocessing.active_children()]
            while self._running or (sorter.is_active() and not self._failed and not told):
                self._ready += sorter.get_ready()
                while self._ready and len(self._running) < self._jobs and not self._failed and not told:
                    self._begin(max(self._ready, key=self._first), pool, screen)
                ended, _ = wait(self._running, timeout=POLL, return_when=FIRST_COMPLETED)
                for future in ended:
                    self._end(future, screen, sorter)
                if stop_requested() and not told:
                    for group in groups:
                        with suppress(ProcessLookupError):
                            os.killpg(group, signal.SIGINT)
                    told = True
                screen.refresh()
        known = times.recorded(self._root)  # of a stage that never ran here, how long it took to see that it need not
        told_of = [task for task, how in self._done.items() if how == RAN or task.stage not in known]
        times.record(self._root, {task.stage: self._seconds[task] for task in told_of})
        if self._failed and not told:
            raise InputError(self._failure())
        return Counter(self._done.values())

    def _pool(self) -> ProcessPoolExecutor:
        """Workers that are there: dvc is loaded once, by this process, from which they are forked."""
        load_dvc()
        sys.stdout.flush()
        sys.stderr.flush()
        pool = ProcessPoolExecutor(self._jobs, multiprocessing.get_context("fork"), begin, (os.getpid(),))
        wait([pool.submit(int)])
        return pool

    def _begin(self, task: Task, pool: ProcessPoolExecutor, screen: Screen) -> None:
        self._ready.remove(task)
        log = Log(task, self._root / LOGS / f"{task.name}.log")
        screen.print(f"{task.name}: begins")
        screen.begin(log)
        self._running[pool.submit(reproduce, task, self._force, log.path)] = log

    def _end(self, future: "Future[str]", screen: Screen, sorter: "TopologicalSorter[Task]") -> None:
        log = self._running.pop(future)
        task, seconds = log.task, time.monotonic() - log.begun
        screen.end(log)
        try:
            self._done[task] = future.result()
        except InputError as error:
            self._failed[task] = str(error)
        except BrokenProcessPool:
            self._failed[task] = "its worker was killed"
        else:
            self._seconds[task] = seconds
            screen.print(f"{task.name}: {SAID[self._done[task]]} {clock(seconds)}")
            sorter.done(task)

    def _all_known(self) -> bool:
        return all(task in self._seconds for task in self._needs)

    def _summary(self) -> str:
        counts = f"{len(self._done)} of {len(self._needs)} stages done, {len(self._running)} running"
        waiting = len(self._needs) - len(self._done) - len(self._running) - len(self._failed)
        left = "time left not known before a whole run"
        if self._all_known():
            now = time.monotonic()
            running = {log.task: max(0.0, self._seconds[log.task] - now + log.begun) for log in self._running.values()}
            needs = {task: needs for task, needs in self._needs.items() if task not in self._done}
            left = f"{clock(times.makespan(needs, self._seconds, self._jobs, running))} left"
        return f"{counts}, {waiting} waiting, {left}"

    def _failure(self) -> str:
        """The one line on the stages that failed."""
        reasons = [f"{task.name}: {reason}" for task, reason in self._failed.items()]
        waiting = [task.name for task in self._needs if task not in self._done and task not in self._failed]
        left = f"; not run: {_listed(waiting)}" if waiting else ""
        return f"{'; '.join(reasons)}{left}; what is done is kept, the same command goes on from here"


def _listed(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


class _Surroundings:
    """A context: what stages find in their environment while they run side by side."""

    def __init__(self, root: Path):
        self._root = root

    def __enter__(self) -> None:
        self._before = dict(os.environ)
        os.environ[REPRO] = identity(os.getpid())
        os.environ["DVC_ROOT"] = str(self._root)  # where states of trainings and records lie
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        if sys.stdout.isatty():
            os.environ[SCREEN] = "1"

    def __exit__(self, *_: object) -> None:
        os.environ.clear()
        os.environ.update(self._before)


def summary(told: Counter[str], seconds: float) -> str:
    """One line on a run that came to its end."""
    if not told[RAN] and not told[RESTORED]:
        return f"all {told.total()} stages are up to date"
    parts: Iterable[str] = (
        f"{told[how]} {word}" for how, word in ((RAN, "ran"), (RESTORED, "restored"), (UNCHANGED, "up to date"))
    )
    return f"{told.total()} stages in {clock(seconds)}: {', '.join(parts)}"
