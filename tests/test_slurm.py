"""Training stages in batch jobs of a real SLURM: two nodes, both of them this machine, without GPUs."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from rounding import BOUND, difference
from safetensors.torch import load_file
from slurm_cluster import NODES, Cluster, Job, missing, wait_for
from tiny_project import ROOT, Project, tiny

BYOL = (
    "python -m stages.pretrain byol --data data/prepared/mini --probe data/prepared/office "
    "--start models/backbone/scratch.safetensors --out {out}/byol.safetensors --history {out}/byol.csv "
    "--metrics {out}/byol.json"
)
SEGMENT = (
    "python -m stages.segment A --data data/prepared/p3 --start models/start/P3A.safetensors "
    "--out {out}/segment --history {out}/segment.csv"
)
GOES_ON = "its lines and the ranks' are above; run `dvc repro` to go on from the last state"
# As `sbatch --export=NONE` leaves it: srun hands on nothing of the environment unless told.
NO_EXPORT = "export SLURM_EXPORT_ENV=NONE"
# A stage that only starts ranks, as trainings do, in a third of their time. The first one to write is the last to end,
# and the other ends long enough after the signal for a second one to count.
RANKS = """
import time
from pathlib import Path

from hw1.run.processes.launch import run_training
from hw1.run.processes.ranks import most, rank
from hw1.run.processes.supervision import deferred, stop, stop_requested


def main():
    with deferred():
        while not (told := most(stop_requested())[0]):
            Path(f"marks/rank.{rank()}").touch()
            time.sleep(0.1)
        time.sleep(1.5)
        if rank() == 0:
            time.sleep(2)
            Path("marks/state").touch()
        stop(told)


if __name__ == "__main__":
    run_training(main)
"""


@pytest.fixture(scope="module")
def cluster():
    if lacks := missing():
        reason = f"no {', '.join(lacks)}: `make test-slurm` installs SLURM and runs this"
        (pytest.fail if "NEEDS_SLURM" in os.environ else pytest.skip)(reason)
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def prepared(cluster, tmp_path_factory):
    """A project whose data are prepared; the tests train in copies of it."""
    tree = yaml.safe_load(tiny())
    tree["synthetic"]["mini"]["train"] = 200
    tree["segment"]["A"]["weights"] = "none"
    folder = tmp_path_factory.mktemp("prepared")
    project = Project(folder, yaml.safe_dump(tree), HW1_TRACKING="off", OMP_NUM_THREADS="1")
    together(project, "python -m stages.download --out data/raw/hw1_data.zip")
    paths = "--archive data/raw/hw1_data.zip --out data/prepared/{0} --reading data/reading/{0}.json"
    prepare = f"python -m stages.prepare {{0}} {paths}"
    together(
        project,
        *(prepare.format(part) for part in ("mini", "office", "p3")),
        "python -m stages.imagenet --out models/imagenet",
        "python -m stages.initialise --out models/backbone/scratch.safetensors --none models/start/none.safetensors",
    )
    start = "--imagenet models/imagenet/P3A.safetensors --out models/start/P3A.safetensors --history start.csv"
    together(project, f"python -m stages.start P3A --data data/prepared/mini {start}")
    return project


def together(project, *commands, **environment):
    """Run them all at once, to the end."""
    started = [
        subprocess.Popen(command.split(), cwd=project.folder, env=project.environment | environment)
        for command in commands
    ]
    assert [process.wait(120) for process in started] == [0] * len(commands)


class Copy:
    """A copy of the prepared project for one epoch of BYOL in batches of ``batch_size``, and jobs in it."""

    def __init__(self, prepared, cluster, folder, batch_size):
        self.folder, self.environment, self.cluster = folder, prepared.environment, cluster
        shutil.copytree(prepared.folder, folder, dirs_exist_ok=True)
        # Nothing but rounding is to differ between one process and two, and little: float32; few steps, each magnifies
        # it; SGD, whose step is off by what the gradient is, where Adam's first are of one size for any gradient.
        recipe = {"epochs": 1, "optimiser": "sgd", "momentum": 0.9, "lr": 0.0001}
        tree = yaml.safe_load((folder / "params.yaml").read_text())
        tree["runtime"] |= {"device": "cpu", "precision": "fp32"}
        tree["pretrain"]["byol"] |= recipe | {"batch_size": batch_size}
        tree["segment"]["A"] |= recipe | {"epochs": 2, "batch_size": 4}
        tree["checkpoint"]["minutes"] = 0.03  # the first state is one of the first epoch
        (folder / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
        (folder / "job").mkdir()

    def submit(self, line, nodes=2):
        return self.submit_script(f"#!/bin/sh\n{line}\n", f"--nodes={nodes}", "--ntasks-per-node=1")

    def submit_script(self, script, *options):
        return self.cluster.submit(script, *options, folder=self.folder, environment=self.environment)


# -- what comes out


@pytest.fixture(scope="module")
def trained(prepared, cluster, tmp_path_factory):
    """The folder where both trainings have been in jobs of two nodes, and in ``alone`` in one process each.

    All four at once: most of the time of each goes into imports.
    """
    copy = Copy(prepared, cluster, tmp_path_factory.mktemp("trained"), batch_size=100)
    jobs = (
        copy.submit("dvc repro --single-item pretrain@byol"),
        copy.submit(f"{NO_EXPORT}; {SEGMENT.format(out='job')}"),
    )
    # States elsewhere: these would wait for the same trainings in the jobs.
    (copy.folder / "alone").mkdir()
    alone = (command.format(out="alone") for command in (BYOL, SEGMENT))
    together(copy, *alone, DVC_ROOT=str(copy.folder / "alone"))
    for job in jobs:
        assert job.ended() == "COMPLETED", job.output
        assert all(job.had_step_on(node) for node in NODES)
        assert job.output.count("epoch 1/") == 1  # not each on its own
    return copy.folder


def assert_close(one, other):
    """Compare histories, or files of weights."""
    if one.suffix == ".csv":
        ours, theirs = pd.read_csv(one), pd.read_csv(other)
        assert ours.shape == theirs.shape
        for column in ours:
            # Of the 9 and 40 images that neighbours vote on, one may tip over.
            rounding = 0.12 if column.startswith("knn_") else 1e-6
            assert list(theirs[column]) == pytest.approx(list(ours[column]), rel=BOUND, abs=rounding), column
    else:
        assert difference(load_file(one), load_file(other)) < BOUND


def test_byol_by_dvc_in_a_job_of_two_nodes_ends_as_one_process_does(trained):
    assert_close(trained / "alone/byol.csv", trained / "models/history/pretrain/byol.csv")
    assert_close(trained / "alone/byol.safetensors", trained / "models/backbone/byol.safetensors")


def test_segmenter_in_a_job_of_two_nodes_ends_as_one_process_does(trained):
    assert_close(trained / "alone/segment.csv", trained / "job/segment.csv")
    names = sorted(path.name for path in (trained / "alone/segment").iterdir())
    assert names == sorted(path.name for path in (trained / "job/segment").iterdir()) and names
    for name in names:
        assert_close(trained / "alone/segment" / name, trained / "job/segment" / name)


# -- what ends it


@pytest.fixture(scope="module")
def copy(prepared, cluster, tmp_path_factory):
    """A copy for BYOL in batches so small that its one epoch outlasts what is done to it, and for ``RANKS``."""
    copy = Copy(prepared, cluster, tmp_path_factory.mktemp("copy"), batch_size=2)
    (copy.folder / "stages/ranks.py").write_text(RANKS)
    return copy


@pytest.fixture(scope="module")
def cancelled(copy):
    """A training of two nodes after scancel in mid-epoch, and the states before."""
    job = copy.submit("dvc repro --single-item pretrain@byol")
    wait_for(lambda: bool(states(copy)), 90, lambda: job.output)
    assert job.processes("SLURM_PROCID=1")
    before = states(copy)
    job.signal()
    assert job.ended() == "CANCELLED"
    return job, before


def states(copy):
    """File names, the oldest first."""
    return sorted(path.name for path in copy.folder.glob(".checkpoints/pretrain@byol-*/*.pt"))


def test_scancel_leaves_no_process_and_the_state_of_its_moment(cancelled, copy):
    job, before = cancelled
    job.gone()
    assert states(copy)[-1] > before[-1]


def test_one_node_goes_on_where_two_were_cancelled(cancelled, copy):
    job = copy.submit("python -m hw1.run.ready && dvc repro --single-item pretrain@byol", nodes=1)
    job.says("pretrain@byol: goes on after epoch 0/1, step ")
    job.signal()
    assert job.ended() == "CANCELLED"
    job.gone()


@pytest.fixture
def marks(copy):
    """The folder in which each rank of ``RANKS`` leaves ``rank.N``, and the first its ``state`` when told to end."""
    shutil.rmtree(copy.folder / "marks", ignore_errors=True)
    (copy.folder / "marks").mkdir()
    return copy.folder / "marks"


def await_ranks(job, marks):
    wait_for(lambda: len(list(marks.glob("rank.*"))) == 2, 90, lambda: job.output)


def test_documented_job_lets_ranks_write_before_its_time_is_over_and_starts_again(copy, marks):
    (script,) = re.findall(r"```sh\n(#!/bin/bash\n.*?)```", (ROOT / "docs/scale.md").read_text(), re.S)
    assert script.count("dvc repro") == 1
    job = copy.submit_script(script.replace("dvc repro", "python -m stages.ranks"), "--ntasks-per-node=1")
    await_ranks(job, marks)
    job.signal("--signal=USR1", "--batch")  # as SLURM does then
    wait_for((marks / "state").exists, 60, lambda: job.output)
    wait_for(lambda: job.restarts() == 1, 60, lambda: job.output)
    job.signal()
    assert job.ended() == "CANCELLED"
    job.gone()


def test_stage_that_is_told_to_end_waits_for_its_ranks_and_says_so(copy, marks):
    job = copy.submit("exec python -m stages.ranks")
    await_ranks(job, marks)
    job.signal("--signal=TERM", "--batch")
    assert job.ended() == "FAILED"
    assert (marks / "state").exists()
    assert job.output.endswith("\nstopped by SIGTERM; run `dvc repro` to go on from here\n")
    job.gone()


def test_rank_that_dies_ends_the_others_and_the_stage_says_so(copy, marks):
    job = copy.submit("exec python -m stages.ranks")
    await_ranks(job, marks)
    (rank,) = job.processes("SLURM_PROCID=1")
    os.kill(rank, signal.SIGKILL)
    assert job.ended() == "FAILED"
    assert "srun: error: two: task 1: Killed\n" in job.output
    assert job.output.endswith(f"error: srun ended with status 137, {GOES_ON}\n")
    job.gone()


def test_job_with_too_few_tasks_for_the_ranks_ends_with_what_srun_says(copy):
    params = copy.folder / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("devices: 1", "devices: 2"))
    job = copy.submit("exec python -m stages.ranks")
    assert job.ended() == "FAILED"
    params.write_text(before)
    assert re.fullmatch(
        rf"srun: error: .*More processors requested than permitted\nerror: srun ended with status 1, {GOES_ON}\n",
        job.output,
    )


# -- the whole graph


class Submitted:
    """The text of ``python -m hw1.repro.submit`` on the jobs that it gave to SLURM, by name."""

    def __init__(self, copy, *targets):
        command = (sys.executable, "-m", "hw1.repro.submit", *targets)
        environment = copy.cluster._environment(copy.environment)
        done = subprocess.run(command, cwd=copy.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.text = done.stdout
        found = re.findall(r"^(\S+): (?:job|is in the queue as job) (\d+)", done.stdout, re.M)
        logs = copy.folder / ".dvc/tmp/repro"
        self.jobs = {name: Job(copy.cluster, number, logs / f"{name}.out") for name, number in found}


@pytest.fixture(scope="module")
def submitted(prepared, cluster, tmp_path_factory):
    """Two settings of problem 2, each of whose jobs takes a node, and BYOL so long that it can be cancelled."""
    copy = Copy(prepared, cluster, tmp_path_factory.mktemp("submitted"), batch_size=2)
    params = copy.folder / "params.yaml"
    tree = yaml.safe_load(params.read_text())
    tree["launch"]["slurm"]["train"]["cpus"] = 32
    params.write_text(yaml.safe_dump(tree, sort_keys=False))
    copy.first = Submitted(copy, "finetune@A", "finetune@C")
    return copy


def test_each_stage_is_a_job_after_those_that_it_needs(submitted):
    jobs = submitted.first.jobs
    assert set(jobs) == {"prepare", "finetune@A", "pretrain@byol", "finetune@C"}
    shown = submitted.cluster._ask("scontrol", "show", "job", jobs["finetune@C"].number)
    assert f"afterok:{jobs['pretrain@byol'].number}(" in shown  # which lasts; what has ended is shown no more
    # Again while they wait or run: none is submitted twice.
    again = Submitted(submitted, "finetune@A", "finetune@C").jobs
    assert "finetune@C" in again
    assert all(job.number == jobs[name].number for name, job in again.items())


def test_two_trainings_run_on_two_nodes_at_once_and_leave_what_dvc_records(submitted):
    jobs = submitted.first.jobs
    assert jobs["prepare"].ended() == "COMPLETED", jobs["prepare"].output
    wait_for(lambda: bool(states(submitted)), 90, lambda: jobs["pretrain@byol"].output)
    assert jobs["finetune@A"].ended() == "COMPLETED", jobs["finetune@A"].output
    ran = {submitted.cluster._ask("squeue", "-h", "-t", "all", "-o", "%N", "-j", jobs[name].number) for name in jobs}
    assert {*NODES} <= ran
    locked = yaml.safe_load((submitted.folder / "dvc.lock").read_text())["stages"]
    assert {"download", "prepare@office", "finetune@A"} <= set(locked)


def test_cancelled_job_leaves_a_state_and_the_same_command_goes_on(submitted):
    jobs = submitted.first.jobs
    before = states(submitted)
    jobs["pretrain@byol"].signal()
    assert jobs["pretrain@byol"].ended() == "CANCELLED"
    jobs["pretrain@byol"].gone()
    assert jobs["finetune@C"].ended() == "CANCELLED"  # what it needs will not be there
    assert states(submitted)[-1] >= before[-1]
    again = Submitted(submitted, "finetune@A", "finetune@C")
    assert set(again.jobs) == {"pretrain@byol", "finetune@C"}
    training = again.jobs["pretrain@byol"]
    training.says("pretrain@byol: goes on after epoch 0/1, step ")
    training.signal("--signal=USR1", "--batch")  # as SLURM does two minutes before the time is over
    wait_for(lambda: training.restarts() == 1, 90, lambda: training.output)
    wait_for(lambda: training.output.count(": goes on after epoch 0/1, step ") >= 2, 90, lambda: training.output)
    training.signal()
    assert again.jobs["finetune@C"].ended() == "CANCELLED"
    training.gone()


def test_nothing_is_submitted_that_is_up_to_date(submitted):
    assert Submitted(submitted, "finetune@A").text == "all stages are up to date\n"
