"""Give the stages that must run to SLURM, a job for each: ``python -m hw1.repro.submit [TARGET ...]``.

A job begins when those that it needs have ended well (``afterok``). What prepares data is one job, and so is what
follows the evaluations. ``launch.slurm`` of params.yaml says what each kind asks for. Jobs of an earlier call that
wait or run are not submitted again. SLURM schedules, requeues and cancels; DVC keeps the record, in a folder that all
nodes share. A job that is cancelled, and those that need it, are submitted again by the same command and go on from the
state.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

from hw1.repro.engine import LOGS
from hw1.repro.graph import Plan, plan
from hw1.run.errors import InputError
from hw1.run.parameters.params import Slurm, load
from hw1.run.processes.supervision import run_stage

KINDS = {
    "prepare": ("download", "prepare", "imagenet", "initialise"),
    "train": ("start", "pretrain", "classify", "finetune", "segment"),
    "evaluate": ("evaluate",),
    "report": ("histories", "compare", "plots", "report"),
}
TOGETHER = ("prepare", "report")  # one job for all stages of the kind
# Two minutes before its time is over a job is put back into the queue; SLURM then tells every process to end.
SCRIPT = """#!/bin/bash
trap 'trap "" USR1; scontrol requeue "$SLURM_JOB_ID"; wait' USR1
{{ {python} -m hw1.run.ready && {python} -m hw1.repro --single-item --jobs {jobs} {stages}; }} & wait $!
"""
OPTIONS = ("--parsable", "--nodes=1", "--ntasks=1", "--signal=B:USR1@120", "--requeue", "--open-mode=append")


@dataclass
class Job:
    """A job of the cluster: its name, its kind, its stages, the names of the jobs that it needs."""

    name: str
    kind: str
    stages: list[str] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)


def kind_of(stage: str) -> str:
    """The kind of a stage; one of dvc.yaml that is of no other counts as a training."""
    name = stage.partition("@")[0]
    return next((kind for kind, names in KINDS.items() if name in names), "train")


def jobs_of(plan: Plan) -> list[Job]:
    """The jobs of what must run, each after those that it needs."""
    names = {task: kind if (kind := kind_of(task.stage)) in TOGETHER else task.stage for task in plan.todo}
    jobs: dict[str, Job] = {}
    for task, needs in plan.todo.items():
        job = jobs.setdefault(names[task], Job(names[task], kind_of(task.stage)))
        job.stages.append(task.stage)
        job.needs |= {names[need] for need in needs} - {job.name}
    return [jobs[name] for name in TopologicalSorter({name: job.needs for name, job in jobs.items()}).static_order()]


def options_of(job: Job, asked: Slurm, after: Iterable[str], folder: Path) -> list[str]:
    """Options of ``sbatch`` for a job; ``after`` are the numbers of those that it needs."""
    share = getattr(asked, job.kind)
    options = [*OPTIONS, f"--job-name={job.name}", f"--chdir={folder}", f"--output={folder / LOGS / '%x.out'}"]
    options += [f"--cpus-per-task={share.cpus}", f"--time={share.minutes}"]
    options += [f"--gpus-per-node={share.gpus}"] if share.gpus else []
    if numbers := ":".join(sorted(after, key=int)):
        options += [f"--dependency=afterok:{numbers}", "--kill-on-invalid-dep=yes"]
    return options + shlex.split(asked.options)


def submit(jobs: list[Job], asked: Slurm, folder: Path) -> None:
    """Submit the jobs, but for those that this user has in the queue, waiting or running, in the folder.

    Raises:
        InputError: SLURM is absent or refuses one; those before it stay submitted.
    """
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    queue = _ask("squeue", "--me", "--noheader", "--format=%i|%j|%Z").splitlines()
    entries = (line.strip().split("|", 2) for line in queue)
    numbers = {name: number for number, name, place in entries if place == str(folder)}
    for job in jobs:
        if job.name in numbers:
            print(f"{job.name}: is in the queue as job {numbers[job.name]}")
            continue
        options = options_of(job, asked, {numbers[need] for need in job.needs}, folder)
        at_once = min(getattr(asked, job.kind).cpus, len(job.stages))
        script = SCRIPT.format(python=shlex.quote(sys.executable), jobs=at_once, stages=shlex.join(job.stages))
        numbers[job.name] = _ask("sbatch", *options, script=script).partition(";")[0]
        waits = f", after {', '.join(sorted(job.needs))}" if job.needs else ""
        print(f"{job.name}: job {numbers[job.name]}, {', '.join(job.stages)}{waits}")


def _ask(*command: str, script: str = "") -> str:
    try:
        done = subprocess.run(command, input=script, capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError(f"{command[0]}: not found; submit where SLURM is") from None
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise InputError(f"{reason}; params.yaml's launch.slurm says what jobs ask for")
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hw1.repro.submit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="target", help="stages, such as evaluate@p2; all without any")
    args = parser.parse_args()
    folder = Path().resolve()
    jobs = jobs_of(plan(folder, args.targets))
    if not jobs:
        print("all stages are up to date")
    else:
        submit(jobs, load().launch.slurm, folder)
        print(f"what each prints is in {LOGS}, `squeue --me` says which run, `scancel` ends one")


if __name__ == "__main__":
    run_stage(main)
