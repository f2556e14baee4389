"""The stages as DVC has them: which to look at for some targets, what each needs, which are up to date, how long each
took here, and what follows from that.

dvc is imported in the functions that need it: a machine that only trains need not have it.
"""

import heapq
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from hw1.run.errors import InputError
from hw1.run.files import whole_file

if TYPE_CHECKING:
    from dvc.repo import Repo

Result = TypeVar("Result")
Name = TypeVar("Name")
LOCK = "dvc.lock"
SECONDS = Path(".dvc/tmp/repro/seconds.json")
PATIENCE = 60.0  # seconds in which a training ends its step and writes its state


class Task(NamedTuple):
    """A stage, such as ``finetune@A``, of the project in a folder; ``label`` tells projects apart, as by seed."""

    stage: str
    folder: Path
    label: str = ""

    @property
    def name(self) -> str:
        return f"{self.stage} {self.label}" if self.label else self.stage


Needs = dict[Task, set[Task]]  # what must be done before each


@dataclass(frozen=True)
class Plan:
    """The stages that some targets hang on, in DVC's order, and those of them that there is nothing to do for."""

    needs: Needs
    up_to_date: frozenset[Task] = frozenset()

    @property
    def todo(self) -> Needs:
        """The other stages, each with those of them that it needs."""
        return {task: needs - self.up_to_date for task, needs in self.needs.items() if task not in self.up_to_date}


# -- what DVC says


@contextmanager
def opened(folder: Path = Path()) -> Iterator["Repo"]:
    """Open DVC's view of the project, which waits for DVC's lock where another command has it.

    Raises:
        InputError: with DVC's words, on anything that DVC refuses.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread: workers are forked
    try:
        # DVC takes the names of stages and targets from the working folder.
        with chdir(folder), Repo(_wait_for_lock=True) as repo:
            yield repo
    except DvcException as error:
        raise InputError(words(error)) from None


def patiently(call: Callable[[], Result]) -> Result:
    """Return what ``call`` does, tried again while another command of DVC has what it needs, such as workers whose
    engine was killed, for as long as their stages take to end.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except DvcException as error:
            if not isinstance(error.__cause__ or error, LockError) or time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def words(error: BaseException | None) -> str:
    """An error of DVC and its causes, in one line."""
    texts = []
    while error is not None:
        text = " ".join(str(error).split())
        texts += [text] if text and not text.startswith("failed to reproduce") else []
        error = error.__cause__
    return ": ".join(texts)


def plan(
    folder: Path, targets: Sequence[str] = (), force: bool = False, single_item: bool = False, label: str = ""
) -> Plan:
    """The stages that ``dvc repro`` of these targets would look at; all without targets.

    Frozen stages need nothing, as with DVC. ``force``: none counts as up to date. ``single_item``: the targets alone.

    Raises:
        InputError: as for :func:`opened`, as on a target that does not exist.
    """
    from dvc.repo import lock_repo
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    def look() -> Plan:
        with lock_repo(repo):  # let go between two tries: whoever has what is needed must get it to end
            graph = get_active_graph(repo.index.graph)
            stages = collect_stages(repo, targets or ["dvc.yaml"])
            if single_item:
                graph = graph.subgraph(stages)
            stages = plan_repro(graph, stages)
            fresh = set()
            for stage in stages if not force else ():  # each after all that it needs
                if fresh.issuperset(graph.successors(stage)) and not stage.changed():
                    fresh.add(stage)
            task = {stage: Task(stage.addressing, folder, label) for stage in stages}
            needs = {task[stage]: {task[need] for need in graph.successors(stage)} for stage in stages}
            return Plan(needs, frozenset(task[stage] for stage in fresh))

    with opened(folder) as repo:
        return patiently(look)


def locked(folder: Path) -> list[str]:
    """The stages of dvc.lock, in its order."""
    from dvc.utils.serialize import load_yaml

    path = folder / LOCK
    return list(load_yaml(str(path)).get("stages", ())) if path.exists() else []


def keep_order(folder: Path, before: Sequence[str], order: Sequence[str]) -> None:
    """Put the stages that dvc.lock did not have ``before`` into ``order``; they stand as they ended."""
    from dvc.utils.serialize import modify_yaml

    if set(order) <= set(before) or not (folder / LOCK).exists():
        return
    with opened(folder) as repo, repo.lock, modify_yaml(str(folder / LOCK)) as tree:
        stages = dict(tree["stages"])
        tree["stages"].clear()
        wanted = dict.fromkeys([*before, *order, *stages])
        tree["stages"].update({name: stages[name] for name in wanted if name in stages})


# -- how long it takes


def recorded(folder: Path) -> dict[str, float]:
    """Seconds that each stage took when it last ran to its end here."""
    with suppress(OSError, ValueError):
        return json.loads((folder / SECONDS).read_bytes())
    return {}


def record(folder: Path, seconds: Mapping[str, float]) -> None:
    """Keep the seconds of these stages in place of older ones."""
    if seconds:
        merged = recorded(folder) | {name: round(value, 2) for name, value in seconds.items()}
        with whole_file(folder / SECONDS) as draft:
            draft.write_text(json.dumps(merged, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def to_the_end(needs: Mapping[Name, Collection[Name]], seconds: Mapping[Name, float]) -> dict[Name, float]:
    """Seconds from each one's begin until all that hangs on it has ended, with a worker for each.

    The greatest is the critical path's. ``needs`` has each one after all that it needs; what ``seconds`` lacks counts
    as nothing.
    """
    ways = dict.fromkeys(needs, 0.0)
    for name in reversed(needs):
        ways[name] += seconds.get(name, 0.0)
        for need in needs[name]:
            if need in ways:
                ways[need] = max(ways[need], ways[name])
    return ways


def makespan(
    needs: Mapping[Name, Collection[Name]],
    seconds: Mapping[Name, float],
    workers: int,
    running: Mapping[Name, float] | None = None,
) -> float:
    """Seconds until all have ended, if ``workers`` take them as :mod:`hw1.repro.engine` does, the longest way first.

    Args:
        needs: what each that has not ended needs; needs that are not among them have ended.
        seconds: of each.
        running: seconds left of those that have begun.
    """
    ways, ended, now, running = to_the_end(needs, seconds), set(), 0.0, running or {}
    busy = [(rest, str(name), name) for name, rest in running.items()]
    heapq.heapify(busy)
    waiting = [name for name in needs if name not in running]
    while busy or waiting:
        ready = [name for name in waiting if all(need in ended or need not in needs for need in needs[name])]
        for name in sorted(ready, key=ways.get, reverse=True)[: max(0, workers - len(busy))]:
            heapq.heappush(busy, (now + seconds.get(name, 0.0), str(name), name))
            waiting.remove(name)
        now, _, name = heapq.heappop(busy)
        ended.add(name)
    return now
