"""How long the whole pipeline takes with more workers, computed: from the seconds that a run here took, and on GPUs."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.tables import Table
from hw1.repro.graph import Needs, Task, makespan, plan, recorded, to_the_end
from hw1.run.parameters.params import Params, load
from hw1.run.progress import clock

WORKERS = (1, 2, 4, 8, 16)
GPUS = (1, 2, 4, 8)
SEEDS = 5
TFLOPS = 0.2 * 989  # of an H100 in bf16, a fifth of what it can, as docs/scale.md takes it; not measured
COUNTS = Path("docs/gpu.md")
# Images of the course's archive that are trained on, and the stage whose step docs/gpu.md counts.
IMAGES = {"pretrain@byol": 38_400, "classify": 22_500, "finetune": 3_951, "segment": 2_000}


def dag(_: int) -> list[Table]:
    """Compute the times of the quick preset, of five seeds of problem 2 and of the paper preset on GPUs."""
    whole = plan(Path(), force=True).needs
    known = recorded(Path())
    seconds = {task: known[task.stage] for task in whole if task.stage in known}
    if not {"download", "evaluate@p1", "evaluate@p2", "evaluate@p3"} <= known.keys():
        raise SystemExit("dag: not every stage has run here; run `make repro JOBS=1` in a fresh clone first")
    quick = Table(
        "The quick preset's stages side by side",
        ("workers", "computed", "of one's"),
        "Computed from the seconds that each stage took in the last run in this folder, as if none slowed another "
        f"down, without set-up. All stages: {clock(sum(seconds.values()))}. Critical path: {_path(whole, seconds)}.",
    )
    _fill(quick, whole, seconds, WORKERS)
    of_seeds = _of_seeds(plan(Path(), ["evaluate@p2"], force=True).needs)
    seeds = Table(
        f"{SEEDS} seeds of problem 2 as one graph",
        ("workers", "computed", "of one's"),
        f"Computed from the same seconds; {len(of_seeds)} stages, of which data are prepared once.",
    )
    _fill(seeds, of_seeds, {task: known[task.stage] for task in of_seeds if task.stage in known}, WORKERS)
    params = load("presets/paper.yaml")
    trainings = paper_seconds(whole, params, counts(COUNTS.read_text()))
    paper = Table(
        "The paper preset's trainings side by side on H100s",
        ("GPUs", "computed", "of one's"),
        f"Computed, nothing of it measured: the steps' operations as docs/gpu.md counts them at {TFLOPS:.0f} TFLOP/s, "
        "on the course's archive, which brings the supervised backbone. Validation, evaluation and what the CPU does "
        f"are left out. All trainings: {_hours(sum(trainings.values()))}. "
        f"Critical path: {_path(whole, trainings, _hours)}.",
    )
    _fill(paper, whole, trainings, GPUS, _hours)
    return [dataclasses.replace(table, made="Computed") for table in (quick, seeds, paper)]


def _fill(table: Table, needs: Needs, seconds: Mapping[Task, float], workers: tuple[int, ...], shown=clock) -> None:
    alone = makespan(needs, seconds, 1)
    for count in workers:
        together = makespan(needs, seconds, count)
        table.add(count, shown(together), f"{together / alone:.2f}")


def _path(needs: Needs, seconds: Mapping[Task, float], shown=clock) -> str:
    """The critical path's length and the stages on it that take time."""
    ways = to_the_end(needs, seconds)
    on_it, left = [], set(needs)
    while left:
        task = max(left, key=lambda task: (ways[task], -list(needs).index(task)))
        on_it.append(task)
        left = {other for other in needs if task in needs[other]}
    names = ", ".join(task.stage for task in on_it if seconds.get(task))
    return f"{shown(ways[on_it[0]])} ({names})"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h"


def _of_seeds(needs: Needs) -> Needs:
    """The graph for each seed; what no seed is in is done once."""
    once = ("download", "prepare", "imagenet")

    def of(task: Task, seed: int) -> Task:
        return task if task.stage.startswith(once) else task._replace(of=str(seed))

    return {of(task, seed): {of(need, seed) for need in needs[task]} for seed in range(SEEDS) for task in needs}


def counts(text: str) -> dict[str, float]:
    """TFLOP of a training's step by its stage, from the table of docs/gpu.md."""
    table = text.partition("<!-- counts -->")[2].partition("<!-- end of counts -->")[0]
    found = {}
    for words, value in re.findall(r"^\| (.*?): .*?\| ([\d.]+) \|", table, re.M):
        first, *others = re.findall("`(.+?)`", words)
        name, _, key = first.partition("@")
        keys = map(chr, range(ord(key), ord(others[0]) + 1)) if " to " in words else (key, *others)
        found |= {f"{name}@{key}": float(value) for key in keys}
    return found


def paper_seconds(needs: Needs, params: Params, tflop: Mapping[str, float]) -> dict[Task, float]:
    """Of each training whose step is counted."""
    training = {"pretrain@byol": params.pretrain.byol}
    training |= {f"classify@{key}": getattr(params.classify, key) for key in "AB"}
    training |= {f"segment@{key}": getattr(params.segment, key) for key in "AB"}
    training |= {f"finetune@{key}": params.finetuning(key) for key in params.settings}
    found = {}
    for task in needs:
        if recipe := training.get(task.stage):
            images = IMAGES.get(task.stage) or IMAGES[task.stage.partition("@")[0]]
            found[task] = tflop[task.stage] * images / recipe.batch_size * recipe.epochs / TFLOPS
    return found
