"""Signals, second signals and dead parents, on processes that are stages in all but their work."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from closure import ROOT
from processes import descendants

from hw1.run.processes.supervision import identity

PRELUDE = """
import sys, time
from hw1.run.processes import supervision
from hw1.run.errors import InputError
supervision.watch()
"""
IMPORTS = "print('ready', flush=True)\nexec('time.sleep(30)')"
WORKS = """
def main():
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        print("cleared", flush=True)
supervision.run_stage(main)
"""
TRAINS = """
def main():
    with supervision.deferred():
        print("ready", flush=True)
        for step in range(100):
            time.sleep(0.1)
            if supervision.stop_requested():
                print("state written", flush=True)
                supervision.stop()
supervision.run_stage(main)
"""
HANGS = TRAINS.replace("supervision.stop_requested()", "False")


def start(work, interrupt=signal.SIG_DFL, **environment):
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + work],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "DVC_STAGE"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, interrupt),  # a job in the background ignores it
    )
    if "ready" in work:
        process.stdout.readline()
    return process


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("work, said", [(IMPORTS, ""), (WORKS, "cleared\n"), (TRAINS, "state written\n")])
def test_signal_ends_a_stage_with_its_status_and_one_line_after_the_work_in_hand(number, status, work, said):
    process = start(work)
    process.send_signal(number)
    out, told = process.communicate(timeout=10)
    assert (process.returncode, out) == (status, said)
    assert told == f"stopped by {number.name}; run `dvc repro` to go on from here\n"


@pytest.mark.parametrize(
    "work, seconds, variables, said",
    [
        (TRAINS, 0.03, {}, "state written\n"),  # the same signal by two ways
        (HANGS, 1.2, {}, ""),
        (TRAINS.replace("0.1", "2"), 1.2, {"HW1_RANKS": "slurm"}, "state written\n"),
    ],
    ids=["at once", "a moment later", "a moment later for a rank of SLURM's"],
)
def test_second_signal_cuts_the_work_in_hand_short_only_a_moment_later(work, seconds, variables, said):
    process = start(work, **variables)
    process.send_signal(signal.SIGINT)
    time.sleep(seconds)
    assert seconds < 1 or process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, told = process.communicate(timeout=5)
    assert (process.returncode, out) == (143 if work == HANGS else 130, said)
    assert "HW1_RANKS" not in variables or told == ""


def test_signal_that_was_ignored_stays_ignored():
    process = start(TRAINS.replace("range(100)", "range(5)"), interrupt=signal.SIG_IGN)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0


PARENT = """
import subprocess, sys
stage = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
stage.stdout.readline()
print("ready", flush=True)
stage.wait()
"""


def is_alive(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def started_by_a_killed_parent(folder, work, shell=False, before=(), **environment):
    """Those of the processes that a parent started which stay when it is killed."""
    (folder / "stage.py").write_text(PRELUDE + work)
    command = [sys.executable, str(folder / "stage.py")]
    if shell:  # which stays, for it has something left to do
        command = ["sh", "-c", f"{' '.join(command)}; true"]
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"} | environment
    parent = subprocess.Popen(
        [*before, sys.executable, "-c", PARENT, *command],
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    parent.stdout.readline()
    started = [psutil.Process(pid) for pid in descendants(parent.pid)]
    assert len(started) == 1 + shell
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + (2 if before else 10)
    while any(map(is_alive, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [process for process in started if is_alive(process)]


@pytest.mark.parametrize("work", [WORKS, TRAINS], ids=["works", "trains"])
@pytest.mark.parametrize("shell", [False, True], ids=["child", "child of a shell"])
def test_stage_ends_when_the_process_that_started_it_is_killed(work, shell, tmp_path):
    assert started_by_a_killed_parent(tmp_path, work, shell, DVC_STAGE="x") == []


def test_stage_started_by_hand_under_nohup_outlives_its_parent(tmp_path):
    (stage,) = started_by_a_killed_parent(tmp_path, WORKS, before=["nohup"])
    stage.kill()


@pytest.mark.parametrize(
    "error, told",
    [
        ("InputError('lr: got 0')", "error: lr: got 0\n"),
        ("OSError(28, 'No space left on device', 'a')", "error: a: No space left on device; free some space or .*\n"),
        ("PermissionError(13, 'Permission denied', 'b')", "error: b: Permission denied; .*\n"),
        ("IsADirectoryError(21, 'Is a directory', 'c')", "error: c: Is a directory; mend the path\n"),
        ("OSError(5, 'Input/output error', 'a')", r"Traceback [\s\S]*"),
    ],
)
def test_error_that_a_user_can_mend_is_one_line_and_another_keeps_its_traceback(error, told):
    process = start(f"def main():\n  raise {error}\nsupervision.run_stage(main)")
    _, said = process.communicate(timeout=10)
    assert process.returncode == 1 and re.fullmatch(told, said)


def test_processes_are_told_apart_and_one_stays_the_same_while_it_runs():
    with subprocess.Popen(["sleep", "60"]) as other:
        identities = [identity(process) for process in (os.getpid(), other.pid, os.getpid(), other.pid)]
        other.kill()
    assert identities[:2] == identities[2:] and identities[0] != identities[1]
    assert identities[1].startswith(f"{other.pid}-") and identities[1].rpartition("-")[2].isdigit()
