"""The jobs that a cluster is given, and what each asks for. That a real one takes them is in test_slurm.py."""

import re
from pathlib import Path

import pytest
from closure import ROOT

from hw1.repro import submit
from hw1.repro.graph import Plan, Task, plan
from hw1.repro.submit import KINDS, jobs_of, kind_of, options_of
from hw1.run.errors import InputError
from hw1.run.parameters.params import Resources, Slurm, load

GIVEN = [Resources(8, 0, 60), Resources(4, 2, 90), Resources(2, 1, 30), Resources(1, 0, 5)]
ASKED = Slurm("--partition=gpu --comment='two words'", *GIVEN)


@pytest.fixture(scope="module")
def whole():
    """The project's own plan, nothing of which is up to date."""
    return plan(ROOT, force=True)


def test_every_stage_is_of_a_kind_that_names_it(whole):
    names = {task.stage.partition("@")[0] for task in whole.needs}
    assert names == {name for names in KINDS.values() for name in names}
    assert kind_of("distil@A") == "train"  # somebody's own


def test_each_training_is_a_job_after_what_it_needs(whole):
    jobs = {job.name: job for job in jobs_of(whole)}
    for place, job in enumerate(jobs.values()):
        assert job.needs <= {*list(jobs)[:place]}
    assert jobs["prepare"].stages[0] == "download" and len(jobs["prepare"].stages) == 7
    assert jobs["pretrain@byol"].needs == {"prepare"}
    pretrainings = [jobs[f"finetune@{key}"].needs - {"prepare"} for key in "ABCDE"]
    supervised, byol = {"pretrain@supervised"}, {"pretrain@byol"}
    assert pretrainings == [set(), supervised, byol, supervised, byol]
    assert jobs["evaluate@p2"].needs == {"prepare", *(f"finetune@{key}" for key in "ABCDE")}
    assert {*jobs["report"].stages} == {"histories", "compare", "plots", "report"}
    assert jobs["report"].needs >= {"evaluate@p1", "evaluate@p2", "evaluate@p3"}


def test_what_is_up_to_date_is_neither_submitted_nor_waited_for():
    one, two, three = (Task(name, Path()) for name in ("prepare@p1", "classify@A", "evaluate@p1"))
    made = Plan({one: set(), two: {one}, three: {one, two}}, frozenset({one}))
    assert [(job.name, job.needs) for job in jobs_of(made)] == [("classify@A", set()), ("evaluate@p1", {"classify@A"})]
    assert jobs_of(Plan({one: set()}, frozenset({one}))) == []


def test_job_asks_for_what_its_kind_is_given(whole):
    jobs = {job.name: {*options_of(job, ASKED, {"12", "7"}, Path("/shared"))} for job in jobs_of(whole)}
    asked = {"--cpus-per-task=4", "--gpus-per-node=2", "--time=90", "--dependency=afterok:7:12", "--chdir=/shared"}
    assert jobs["finetune@C"] >= asked | {"--job-name=finetune@C", "--partition=gpu", "--comment=two words"}
    assert "--gpus-per-node=0" not in jobs["prepare"] and "--cpus-per-task=8" in jobs["prepare"]
    assert "--time=30" in jobs["evaluate@p1"] and "--time=5" in jobs["report"]
    first = options_of(jobs_of(whole)[0], ASKED, set(), Path("/shared"))
    assert not [option for option in first if "dependency" in option or "invalid-dep" in option]


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_presets_give_a_training_as_many_gpus_as_it_shares_or_none(preset):
    launch = load(ROOT / f"presets/{preset}.yaml").launch
    assert launch.slurm.train.gpus in (0, launch.devices)
    assert launch.slurm.prepare.gpus == launch.slurm.report.gpus == 0


MISSING = ({}, "squeue: not found; submit where SLURM is")
REFUSES = {"squeue": "exit 0", "sbatch": "echo 'invalid partition' >&2; exit 1"}


@pytest.mark.parametrize("programs, error", [MISSING, (REFUSES, "invalid partition; params.yaml's launch.slurm says")])
def test_missing_slurm_and_what_it_refuses_are_told(programs, error, monkeypatch, tmp_path, whole):
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=re.escape(error)):
        submit.submit(jobs_of(whole), ASKED, tmp_path)
