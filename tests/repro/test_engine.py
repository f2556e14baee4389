"""Stages side by side, on a project whose stages do what they are told: what runs, what is left, what ends it."""

import json
import os
import signal
import subprocess

import psutil
import pytest
from four_stages import STAGES, Project

JOINED = ["source", "1", "left", "source", "1", "right", "join"]


def test_stages_run_at_the_same_time_each_after_what_it_needs(project):
    """Left and right each wait for what the other leaves when it begins."""
    project.tell(left={"seconds": 60, "until": "right.state"}, right={"seconds": 60, "until": "both"})
    process = project.start("--jobs", "2")
    project.wait_for("source", "left", "right")
    (project.folder / "right.state").touch()
    (project.folder / "both").touch()
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert project.ran[0] == "source" and project.text("join.txt").split() == JOINED
    assert told.splitlines()[-1].endswith("4 ran, 0 restored, 0 up to date")


def test_lock_and_outputs_are_those_of_dvc_repro(project, tmp_path_factory):
    other = Project(tmp_path_factory.mktemp("other"))
    project.tell(left={"seconds": 1})  # so that right ends before it
    project.run("--jobs", "2")
    other.run("repro", "-q", module="dvc")
    for name in ("dvc.lock", *(f"{stage}.txt" for stage in STAGES)):
        assert project.text(name) == other.text(name)
    assert "up to date" in project.run("status", module="dvc")


def test_what_is_up_to_date_or_in_dvcs_cache_is_not_run_nor_more_than_what_changed(project):
    project.run()
    assert sorted(project.ran) == sorted(STAGES)
    assert project.run() == "all 4 stages are up to date\n"
    lock = project.text("dvc.lock")
    for name in ("dvc.lock", *(f"{stage}.txt" for stage in STAGES)):
        (project.folder / name).unlink()
    assert "0 ran, 4 restored" in project.run("--jobs", "3")
    assert (project.ran, project.text("dvc.lock")) == ([], lock)
    (project.folder / "params.yaml").write_text("seed: 1\nlr: {left: 0.1, right: 0.2}\n")
    assert "join: up to date after" in project.run()  # what right wrote is as before
    assert project.ran == ["right"]
    project.freeze("left")
    (project.folder / "seed.txt").write_text("2")
    project.run()
    assert sorted(project.ran) == ["join", "right", "source"]
    assert project.text("join.txt").split() == [*JOINED[:4], "2", *JOINED[5:]]


def test_targets_and_force(project):
    for arguments, ran in (
        (["left"], ["source", "left"]),
        (["--force", "left"], ["source", "left"]),
        (["--single-item", "right"], ["right"]),
    ):
        project.run(*arguments)
        assert project.ran == ran
    assert project.run("nowhere", status=1).startswith("error: ")


def test_stage_that_fails_stops_what_needs_it_and_lets_others_end(project):
    project.tell(left={"fails": True}, right={"seconds": 1.5})
    told = project.run("--jobs", "2", status=1)
    assert sorted(project.ran) == ["left", "right", "source"] and project.has("right.txt")
    assert "left: error: no luck\n" in told
    reason = "left: ended with status 1, its lines are above; not run: join"
    assert told.endswith(f"error: {reason}; what is done is kept, the same command goes on from here\n")
    project.tell()
    project.run()
    assert sorted(project.ran) == ["join", "left"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_reaches_each_stage_once_and_each_writes_its_state(project, number):
    """SIGINT as from a terminal, where it goes to the whole group that is in front."""
    project.tell(left={"seconds": 60}, right={"seconds": 60})
    process = project.start("--jobs", "2", process_group=0)
    project.wait_for("left", "right")
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, told
    assert project.has("left.state") and project.has("right.state")
    assert told.count("stopped by SIGINT; run `dvc repro`") == 2  # a second signal would end them without a word
    assert told.endswith(f"stopped by {number.name}; what is done is kept; the same command goes on from here\n")
    project.tell()
    assert len(project.ran) == 3
    project.run()
    assert sorted(project.ran) == ["join", "left", "right"]


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])  # DVC's: one stays between worker and stage, one does not
@pytest.mark.parametrize("victim", ["engine", "worker", "stage"])
def test_kill_of_any_process_leaves_states_and_no_process(project, victim, shell):
    project.environment["SHELL"] = shell
    project.tell(left={"seconds": 60}, right={"seconds": 60 if victim == "engine" else 2})
    process = project.start("--jobs", "2")
    project.wait_for("left", "right")
    engine = psutil.Process(process.pid)
    family = engine.children(recursive=True)
    (left,) = (one for one in family if one.cmdline()[1:3] == ["step.py", "left"])
    (worker,) = set(left.parents()) & set(engine.children())
    {"engine": engine, "worker": worker, "stage": left}[victim].kill()
    told, _ = process.communicate(timeout=60)
    project.until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family))
    assert process.returncode == (-9 if victim == "engine" else 1), told
    assert project.has("left.state") == (victim != "stage")
    assert project.has("right.state" if victim == "engine" else "right.txt")
    project.tell()
    assert project.ran
    project.run()
    assert sorted(project.ran) == ["join", "left", *(["right"] if victim == "engine" else [])]


def test_next_call_waits_for_workers_whose_engine_was_killed(project):
    """They hold DVC's records of what they write until their stages have ended."""
    project.tell(left={"seconds": 60, "ends": 3}, right={"seconds": 60, "ends": 3})
    process = project.start("--jobs", "2")
    project.wait_for("left", "right")
    process.kill()
    process.communicate(timeout=60)
    assert sorted(project.ran) == ["left", "right", "source"]
    project.run("--jobs", "2")
    assert project.has("left.state") and project.has("right.state")
    assert sorted(project.ran) == ["join", "left", "right"]


def test_next_call_waits_for_another_command_of_dvc(project):
    project.run()
    shell = "sleep 4 > /dev/null 2>&1 & echo $!"
    number = int(subprocess.run(shell, shell=True, capture_output=True, text=True).stdout)
    record = {"read": {}, "write": {str(project.folder / "left.txt"): {"pid": number, "cmd": "sleep"}}}
    (project.folder / ".dvc/tmp/rwlock").write_text(json.dumps(record))
    assert project.run().endswith("all 4 stages are up to date\n")
    assert not psutil.pid_exists(number)


@pytest.mark.parametrize(
    "name, text, changed",
    [
        ("code/part.py", "one = 2\n", "code"),
        ("params.yaml", "seed: 1\nlr: {left: 0.5, right: 0.1}\n", "params.yaml (lr.left)"),
        ("params.yaml", "seed: 1\nlr: {left: 0.1, right: 0.5}\n", None),
    ],
    ids=["code", "parameter", "parameter of another stage"],
)
def test_stage_whose_needs_were_edited_while_it_ran_is_not_recorded_as_of_them(project, name, text, changed):
    project.tell(left={"seconds": 60, "until": "edited"})
    process = project.start("--jobs", "2")
    project.wait_for("left")
    project.until(lambda: "right:" in project.text("dvc.lock"))  # else it would be edited too
    (project.folder / name).write_text(text)
    (project.folder / "edited").touch()
    told, _ = process.communicate(timeout=60)
    assert process.returncode == bool(changed) and ("left:" in project.text("dvc.lock")) == (not changed)
    reason = f"left: {changed} changed while it ran; its outputs are not recorded, it must run again; not run: join"
    assert (f"error: {reason}" in told) == bool(changed)
    assert project.ran
    project.run()
    assert ("left" in project.ran) == bool(changed)  # and was not taken from the cache of runs


def test_stop_before_a_stage_has_begun_ends_it_at_once(project):
    """A signal while DVC hashes what the stage needs finds no stage to go to."""
    project.environment["HW1_STOP"] = str(int(signal.SIGINT))
    project.tell(source={"seconds": 60})
    told = project.run(status=1)
    assert "source: ended with status 130" in told and project.ran == []


def test_reader_of_its_lines_may_leave(project):
    project.tell(left={"seconds": 1, "says": "many\n" * 5})
    process = project.start("--jobs", "2")
    process.stdout.close()
    assert process.wait(60) == 0
    assert "many" in project.text(".dvc/tmp/repro/left.log")


def test_second_run_begins_with_the_longest_way(project):
    for longest, other in (("left", "right"), ("right", "left")):
        project.tell(**{longest: {"seconds": 1.5}})
        project.run("--jobs", "1", "--force")
        assert project.ran
        project.run("--jobs", "1", "--force")
        assert project.ran == ["source", longest, other, "join"]
