"""How long stages took on this machine, and what follows: which one to begin first, how long all will take."""

import heapq
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from hw1.run.files import whole_file

FILE = Path(".dvc/tmp/repro/seconds.json")
Name = TypeVar("Name")


def recorded(folder: Path) -> dict[str, float]:
    """Seconds that each stage took when it last ran to its end here."""
    with suppress(OSError, ValueError):
        return json.loads((folder / FILE).read_bytes())
    return {}


def record(folder: Path, seconds: Mapping[str, float]) -> None:
    """Keep the seconds of these stages in place of older ones."""
    if seconds:
        both = recorded(folder) | {name: round(value, 2) for name, value in seconds.items()}
        with whole_file(folder / FILE) as draft:
            draft.write_text(json.dumps(both, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def to_the_end(needs: Mapping[Name, Collection[Name]], seconds: Mapping[Name, float]) -> dict[Name, float]:
    """Seconds from each one's begin until all that hangs on it has ended, with a worker for each.

    The greatest is the critical path's. ``needs`` has each one after all that it needs; what ``seconds`` lacks counts
    as nothing.
    """
    after = dict.fromkeys(needs, 0.0)
    for name in reversed(needs):
        after[name] += seconds.get(name, 0.0)
        for need in needs[name]:
            if need in after:
                after[need] = max(after[need], after[name])
    return after


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
    ways, ended, now = to_the_end(needs, seconds), set(), 0.0
    busy = [(left, str(name), name) for name, left in (running or {}).items()]
    heapq.heapify(busy)
    waiting = [name for name in needs if name not in (running or {})]
    while busy or waiting:
        ready = [name for name in waiting if all(need in ended or need not in needs for need in needs[name])]
        for name in sorted(ready, key=ways.get, reverse=True)[: max(0, workers - len(busy))]:
            heapq.heappush(busy, (now + seconds.get(name, 0.0), str(name), name))
            waiting.remove(name)
        now, _, name = heapq.heappop(busy)
        ended.add(name)
    return now
