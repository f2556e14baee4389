"""What DVC says of the stages: which to look at for some targets, what each needs, and which are up to date.

dvc is imported in the functions that need it: a machine that only trains need not have it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from hw1.run.errors import InputError

if TYPE_CHECKING:
    from dvc.repo import Repo

Result = TypeVar("Result")
LOCK = "dvc.lock"
PATIENCE = 60.0  # seconds in which a training ends its step and writes its state
WAIT = 0.05  # seconds between two tries to get DVC's lock; DVC's own are 0.5


class Task(NamedTuple):
    """A stage, such as ``finetune@A``, of the project in a folder; ``of`` tells several projects apart, such as by
    their seed.
    """

    stage: str
    folder: Path
    of: str = ""

    @property
    def name(self) -> str:
        return f"{self.stage} {self.of}" if self.of else self.stage


Needs = dict[Task, set[Task]]  # what must be done before each


@dataclass(frozen=True)
class Plan:
    """The stages that some targets hang on, in DVC's order, and those of them that there is nothing to do for."""

    needs: Needs
    up_to_date: frozenset[Task] = frozenset()


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


def load_dvc() -> None:
    """Load what workers need of it, so that those forked from this process have it."""
    import dvc.lock
    import dvc.repo.reproduce
    import dvc.stage.cache

    dvc.lock.DEFAULT_TIMEOUT = 6 * WAIT  # DVC tries again after a sixth


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


def words(error: BaseException) -> str:
    """An error of DVC and its causes, in one line."""
    told = []
    while error is not None:
        text = " ".join(str(error).split())
        told += [text] if text and not text.startswith("failed to reproduce") else []
        error = error.__cause__
    return ": ".join(told)


def plan(
    folder: Path, targets: Sequence[str] = (), force: bool = False, single_item: bool = False, of: str = ""
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
            task = {stage: Task(stage.addressing, folder, of) for stage in stages}
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
    """Put the stages that ``before`` lacks into ``order`` in dvc.lock, where they stand as they ended."""
    from dvc.utils.serialize import modify_yaml

    if set(order) <= set(before):
        return
    now = locked(folder)
    wanted = [name for name in before if name in now]
    wanted += [name for name in order if name in now and name not in before]
    wanted += [name for name in now if name not in wanted]
    with opened(folder) as repo, repo.lock, modify_yaml(str(folder / LOCK)) as tree:
        stages = dict(tree["stages"])
        tree["stages"].clear()
        tree["stages"].update({name: stages[name] for name in wanted})
