"""Signals, second signals and dead parents, on processes that are stages in all but their work."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import descendants

from hw1.run.processes.supervision import identity

ROOT = Path(__file__).parents[3]
PRELUDE = """
import sys, time
from hw1.run.processes import supervision
from hw1.run.errors import InputError
supervision.watch()
"""
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
HANGS = """
def main():
    with supervision.deferred():
        print("ready", flush=True)
        for _ in range(300):
            time.sleep(0.1)
supervision.run_stage(main)
"""
GOES_ON = "run `dvc repro` to go on from here"


def start(work, **environment):
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + work],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "DVC_STAGE"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    if "ready" in work:
        process.stdout.readline()
    return process


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid, seconds=10.0):
    limit = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("work, said", [(WORKS, "cleared"), (TRAINS, "state written")])
def test_signal_ends_a_stage_with_its_status_and_one_line_after_the_work_in_hand(number, status, work, said):
    process = start(work)
    process.send_signal(number)
    out, told = process.communicate(timeout=10)
    assert process.returncode == status
    assert out == f"{said}\n"
    assert told == f"stopped by {number.name}; {GOES_ON}\n"


def test_signal_during_the_imports_ends_in_one_line():
    process = start("print('ready', flush=True)\nexec('time.sleep(30)')")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=10)
    assert (process.returncode, told) == (130, f"stopped by SIGINT; {GOES_ON}\n")


def test_same_signal_at_once_again_does_not_cut_the_work_in_hand_short():
    process = start(TRAINS)
    process.send_signal(signal.SIGINT)
    time.sleep(0.03)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "state written\n")


def test_second_signal_a_moment_later_ends_the_process_at_once():
    process = start(HANGS)
    process.send_signal(signal.SIGINT)
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=2) == 130


def test_second_signal_does_not_keep_a_rank_of_slurms_from_writing_the_state():
    process = start(TRAINS.replace("0.1", "2"), HW1_RANKS="slurm")
    process.send_signal(signal.SIGINT)
    time.sleep(1.2)
    process.send_signal(signal.SIGTERM)
    out, told = process.communicate(timeout=10)
    assert (process.returncode, out, told) == (130, "state written\n", "")


def test_signal_that_was_ignored_stays_ignored():
    code = (
        "import signal, os, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, sys.executable, "-c", PRELUDE + TRAINS.replace("range(100)", "range(5)")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0


PARENT = """
import os, subprocess, sys
stage = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
stage.stdout.readline()
print("ready", flush=True)
stage.wait()
"""


@pytest.mark.parametrize("work", [WORKS, TRAINS], ids=["works", "trains"])
@pytest.mark.parametrize("shell", [False, True], ids=["child", "child of a shell"])
def test_stage_ends_when_the_process_that_started_it_is_killed(work, shell, tmp_path):
    (tmp_path / "stage.py").write_text(PRELUDE + work)
    command = [sys.executable, str(tmp_path / "stage.py")]
    if shell:  # which stays, for it has something left to do
        command = ["sh", "-c", f"{' '.join(command)}; true"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "x"}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    parent.stdout.readline()
    started = descendants(parent.pid)
    assert len(started) == 1 + shell
    parent.kill()
    parent.wait()
    assert all(ends(pid) for pid in started)


def test_stage_started_by_hand_under_nohup_outlives_its_parent(tmp_path):
    (tmp_path / "stage.py").write_text(PRELUDE + WORKS)
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"} | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        ["nohup", sys.executable, "-c", PARENT, sys.executable, str(tmp_path / "stage.py")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    parent.stdout.readline()
    (stage,) = descendants(parent.pid)
    parent.kill()
    parent.wait()
    try:
        assert not ends(stage, seconds=2)
    finally:
        os.kill(stage, signal.SIGKILL)


@pytest.mark.parametrize(
    "error, told",
    [
        ("InputError('lr: got 0')", "error: lr: got 0\n"),
        ("OSError(28, 'No space left on device', 'a')", "error: a: No space left on device; free some space or "),
        ("PermissionError(13, 'Permission denied', 'b')", "error: b: Permission denied; "),
        ("IsADirectoryError(21, 'Is a directory', 'c')", "error: c: Is a directory; mend the path\n"),
    ],
)
def test_error_that_a_user_can_mend_is_one_line(error, told):
    process = start(f"def main():\n  raise {error}\nsupervision.run_stage(main)")
    _, said = process.communicate(timeout=10)
    assert process.returncode == 1 and said.startswith(told) and said.count("\n") == 1


def test_other_errors_keep_their_traceback():
    process = start("def main():\n  raise OSError(5, 'Input/output error', 'a')\nsupervision.run_stage(main)")
    _, said = process.communicate(timeout=10)
    assert process.returncode == 1 and "Traceback" in said


def test_processes_are_told_apart_and_one_stays_the_same_while_it_runs():
    with subprocess.Popen(["sleep", "60"]) as other:
        identities = [identity(process) for process in (os.getpid(), other.pid, os.getpid(), other.pid)]
        other.kill()
    assert identities[:2] == identities[2:] and identities[0] != identities[1]
    assert identities[1].startswith(f"{other.pid}-") and identities[1].rpartition("-")[2].isdigit()
