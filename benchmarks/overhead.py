"""What the stages of the DAG cost before they do anything: starting Python and importing."""

import shutil
import statistics
import subprocess
import sys
import time

from benchmarks.tables import Table

RUNS = {  # processes of each stage in one `dvc repro`
    "download": 1,
    "prepare": 4,
    "imagenet": 1,
    "start": 3,
    "initialise": 1,
    "pretrain": 2,
    "classify": 2,
    "finetune": 5,
    "segment": 2,
    "histories": 1,
    "evaluate": 3,
    "compare": 1,
    "plots": 1,
    "report": 1,
}


def overhead(rounds: int) -> list[Table]:
    table = Table(
        "Fixed cost of a stage: start and imports",
        ("", "processes", "seconds each", "seconds in all"),
        note="`python -m stages.<name> --help`, medians; the rest of a stage is work.",
    )
    commands = {name: [sys.executable, "-m", f"stages.{name}", "--help"] for name in RUNS}
    times = _alternate(commands, rounds)
    total = 0.0
    for name, count in RUNS.items():
        total += count * times[name]
        table.add(name, count, f"{times[name]:.2f}", f"{count * times[name]:.1f}")
    table.add("all", sum(RUNS.values()), "", f"{total:.1f}")
    dvc = shutil.which("dvc")
    if dvc and subprocess.run([dvc, "status", "-q"], capture_output=True).returncode == 0:
        table.add("`dvc repro`, nothing to do", 1, *2 * [f"{_alternate({'dvc': [dvc, 'repro']}, rounds)['dvc']:.2f}"])
    return [table]


def _alternate(commands: dict[str, list[str]], rounds: int) -> dict[str, float]:
    """Median seconds of each command over alternating rounds, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}
