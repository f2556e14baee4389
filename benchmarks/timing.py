"""Contestants measured side by side: alternating rounds, each contestant in a process of its own."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

Contestant = Callable[[], float]  # one round; returns how many units (images, pixels) it worked on
Setup = Callable[[], Contestant]  # picklable; builds what a round needs


@dataclass(frozen=True)
class Speed:
    """Units a second in each round; ``missing`` says why there are none."""

    rounds: tuple[float, ...]
    missing: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.rounds) if self.rounds else float("nan")

    @property
    def spread(self) -> str:
        """Slowest and fastest round."""
        return f"{min(self.rounds):.3g}-{max(self.rounds):.3g}" if self.rounds else ""


def race(contestants: Mapping[str, Setup], rounds: int) -> dict[str, Speed]:
    """Speed of each contestant over ``rounds`` alternating rounds, after one that does not count.

    Each runs in its own process, so that none sees another's threads, memory settings or cached
    weights; only one of them works at a time. What cannot be imported is reported as missing.
    """
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    missing: dict[str, str] = {}
    for name, setup in contestants.items():
        pipe, theirs = context.Pipe()
        processes.append(context.Process(target=_serve, args=(setup, theirs), daemon=False))
        processes[-1].start()
        theirs.close()  # so that a contestant that dies is noticed
        problem = pipe.recv()
        if problem:
            missing[name] = problem
        else:
            pipes[name] = pipe
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send(True)
            speeds[name].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(False)
    for process in processes:
        process.join()  # what is measured next must not share the machine with its end
    return {name: Speed(tuple(values), missing.get(name, "")) for name, values in speeds.items()}


def _serve(setup: Setup, pipe: Connection) -> None:
    try:
        run = setup()
        run()
    except ImportError as error:
        pipe.send(f"not installed: {error.name}")
        return
    pipe.send("")
    while pipe.recv():
        start = time.perf_counter()
        units = run()
        pipe.send(units / (time.perf_counter() - start))
