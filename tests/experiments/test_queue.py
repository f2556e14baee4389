"""What is made of DVC's books, when the queue counts as standing still, and that a real one is left and taken up."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from closure import ROOT

from hw1.experiments import pipeline, queue
from hw1.experiments.pipeline import attempt, dvc, finished, parameters_of, text_of
from hw1.experiments.queue import Task, take_out, tasks, wait_for
from hw1.experiments.seeds import in_place, in_queue
from hw1.run.errors import InputError

STAGE = """stages:
  train:
    cmd: python train.py
    deps: [train.py]
    params: [seed, seconds]
    metrics:
      - metrics.json: {cache: false}
"""
SCRIPT = """import json, re, sys, time
values = dict(re.findall(r"(\\w+): (\\w+)", open("params.yaml").read()))
print("training", flush=True)
time.sleep(int(values["seconds"]))
if values["seed"] == "13":
    sys.exit("unlucky")
json.dump({"seed": int(values["seed"])}, open("metrics.json", "w"))
"""


def entry(name, state, process=None, where="dvc-task"):
    """Of an experiment, as `dvc exp show --json` writes it."""
    local = {"root": None, "log": None, "pid": process, "returncode": None, "task_id": "1234"}
    executor = state and {"state": state, "name": where, "local": local}
    return {"name": name, "revs": [{"rev": "5678", "name": name}], "executor": executor}


@pytest.fixture
def books(monkeypatch):
    """Lets `dvc exp show` say that these experiments start from the commit 01d."""

    def script(*entries):
        text = json.dumps([{"rev": "01d", "experiments": list(entries)}, {"rev": "c0ffee", "experiments": None}])
        monkeypatch.setattr(queue, "dvc", lambda *arguments, timeout: text)

    return script


def test_states_are_taken_from_dvcs_books(books):
    books(entry("a", "queued"), entry("b", "failed", 7), entry("c", "success", 8), entry("d", None))
    states = [("a", "queued", None), ("b", "failed", 7), ("c", "success", 8), ("d", "success", None)]
    assert tasks() == {name: Task(state, "01d", process) for name, state, process in states}


@pytest.mark.parametrize("words, where, state", [("exp", "tempdir", "running"), ("other", "tempdir", "lost")])
def test_task_runs_while_its_process_is_one_of_dvcs(words, where, state, books):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", words])
    books(entry("a", "running", process.pid, where))
    try:
        assert tasks()["a"].state == state
    finally:
        process.kill()
        process.wait()
    assert tasks()["a"].state == "lost"


def test_task_of_the_queue_without_a_worker_above_it_is_lost(books):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "exp"])
    books(entry("a", "running", process.pid))
    try:
        assert tasks()["a"].state == "lost"
    finally:
        process.kill()
        process.wait()


def test_command_that_hangs_is_given_up(monkeypatch):
    command = {"args": [sys.executable, "-c", "import time; time.sleep(600)"]}
    monkeypatch.setattr(pipeline, "_command", lambda *arguments: command)
    with pytest.raises(InputError, match="dvc exp show: no answer in 1 s"):
        dvc("exp", "show", timeout=1)


def test_command_that_leaves_a_process_behind_is_not_waited_for(monkeypatch):
    script = "sleep 600 & echo $!; echo told >&2; exit 3"
    monkeypatch.setattr(pipeline, "_command", lambda *arguments: {"args": ["sh", "-c", script]})
    done = attempt("queue", "start")
    left = psutil.Process(int(done.stdout))
    assert (done.returncode, done.stderr, left.is_running()) == (3, "told\n", True)
    left.kill()


def test_lost_task_does_not_hide_the_same_experiment_trained_anew(books):
    books(entry("a", "running"), entry("a", None))
    assert tasks()["a"].state == "success"


def test_process_number_that_is_a_strangers_by_now_is_not_interrupted(monkeypatch):
    commands = []
    monkeypatch.setattr(queue, "attempt", lambda *arguments: commands.append(arguments))
    take_out("a", Task("lost", "01d", os.getpid()))
    assert {arguments[1] for arguments in commands} == {"remove"}


@pytest.fixture
def looks(monkeypatch):
    """Lets one look after another find what a dict says, or fail where it is None; the last one for ever."""

    def script(*found, elsewhere=()):
        found = list(found)

        def look(*selection, timeout=0):
            seen = found.pop(0) if len(found) > 1 else found[0]
            if seen is None:
                raise InputError("dvc exp show: no such file")
            if selection == ("--all-commits",):
                seen = {**seen, **dict(elsewhere)}
            return {name: Task(state, "01d", 1) for name, state in seen.items()}

        clock = iter(range(0, 10**6, 10))
        monkeypatch.setattr(queue, "tasks", look)
        monkeypatch.setattr(queue.time, "monotonic", lambda: next(clock))
        monkeypatch.setattr(queue.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(
            queue, "attempt", lambda *arguments: subprocess.CompletedProcess(arguments, 0, "the end", "")
        )

    return script


def test_wait_ends_with_the_last_experiment(looks, capsys):
    looks({"a": "queued", "b": "queued"}, {"a": "success", "b": "running"}, {"a": "success", "b": "success"})
    assert wait_for(["a", "b"], ["01d"]) == set()
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" after")[0] for line in said] == ["a: done", "b: done"]


def test_looks_that_fail_or_miss_a_task_are_no_failure(looks):
    looks({"a": "queued"}, None, {}, {"a": "running"}, None, {"a": "success"})
    assert wait_for(["a"], ["01d"]) == set()


def test_failed_task_is_told_with_its_logs_end(looks):
    looks({"a": "running"}, {"a": "failed"})
    with pytest.raises(InputError, match=r"a failed \(`dvc queue logs a`\): the end"):
        wait_for(["a"], ["01d"])


@pytest.mark.parametrize("seen", [{"a": "queued", "b": "success"}, {"a": "lost", "b": "success"}, None])
def test_queue_in_which_nothing_runs_stands_still(seen, looks):
    looks({"a": "queued", "b": "success"}, seen)
    assert wait_for(["a", "b"], ["01d"]) == {"a"}


def test_queue_that_trains_what_starts_from_other_commits_does_not_stand_still(looks):
    looks(*[{"a": "queued"}] * 20, {"a": "success"}, elsewhere={"other": "running"})
    assert wait_for(["a"], ["01d"]) == set()


def test_experiments_that_end_during_a_look_that_hangs_are_finished(looks):
    looks(None, None, None, {"a": "success"})
    assert wait_for(["a"], ["01d"]) == set()


def test_known_is_what_has_one_of_the_names(looks):
    looks({"a": "queued", "other": "running"})
    assert queue.known(["a", "b"]) == {"a": Task("queued", "01d", 1)}


def test_one_look_that_fails_makes_no_task_lost_but_three_do(looks):
    looks(None, None, {"a": "running"})
    assert queue.known(["a"]) == {"a": Task("running", "01d", 1)}
    looks(None)
    assert queue.known(["a"]) == {"a": Task("lost", "", None)}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of git's and DVC's with one stage that takes ``seconds``, edited since its commit."""
    monkeypatch.chdir(tmp_path)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@localhost")
    for name, text in (("dvc.yaml", STAGE), ("train.py", SCRIPT), ("params.yaml", "seed: 1\nseconds: 600\n")):
        Path(name).write_text(text)
    subprocess.run(["git", "init", "-q", "-b", "main"], check=True)
    dvc("init", "-q")
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(["git", "commit", "-qm", "project"], check=True)
    yield tmp_path
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd().startswith(str(tmp_path)) and process.pid != os.getpid():
                process.kill()


def set_seconds(seconds):
    Path("params.yaml").write_text(f"seed: 1  # mine\nseconds: {seconds}\n")


def wait_until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_tasks_of_a_killed_worker_are_left_told_and_trained_by_the_next_call(repository, monkeypatch):
    monkeypatch.setattr(queue, "POLL", 1.0)
    monkeypatch.setattr(queue, "STILL", 2.0)
    dvc("exp", "run", "--queue", "-n", "seed-2", "-S", "seed=2", "train")
    dvc("queue", "start")
    wait_until(lambda: "running" in [task.state for task in queue._look().values()])
    set_seconds(0)
    dvc("exp", "run", "--queue", "-n", "seed-3", "-S", "seed=3", "train")
    process = tasks()["seed-2"].process
    psutil.Process(process).parent().kill()
    assert wait_for(["seed-2", "seed-3"], [commit_of_main()]) == {"seed-2", "seed-3"}
    assert psutil.pid_exists(process)  # without its worker, 600 s long
    monkeypatch.setattr(queue, "STILL", 60.0)
    in_queue({2: "seed-2", 3: "seed-3"}, "train", jobs=1, instead="")
    assert not psutil.pid_exists(process)
    assert [json.loads(text_of("metrics.json", name)) for name in finished()] == [{"seed": 2}, {"seed": 3}]


def commit_of_main():
    return subprocess.run(["git", "rev-parse", "main"], capture_output=True, text=True, check=True).stdout.strip()


def workspace():
    """Every file but git's and DVC's own, what git says of them, and its stash."""
    told = [["status", "--porcelain"], ["stash", "list"], ["symbolic-ref", "HEAD"]]
    files = {path: path.read_bytes() for path in Path().glob("*") if path.is_file()}
    return files, [subprocess.run(["git", *words], capture_output=True).stdout for words in told]


def test_in_place_leaves_the_workspace_as_it_was_also_where_an_experiment_fails(repository, monkeypatch):
    monkeypatch.setattr("hw1.experiments.seeds.answer_signals", lambda advice: None)
    set_seconds(0)
    Path("notes.txt").write_text("mine")
    before = workspace()
    with pytest.raises(InputError, match=r"dvc exp run --temp -n unlucky .*failed"):
        in_place({2: "lucky", 13: "unlucky"}, "train")
    assert workspace() == before
    assert finished() == ["lucky"] and parameters_of("lucky") == {"seed": 2, "seconds": 0}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_in_place_is_stopped_by_a_signal_without_a_trace(number, repository):
    set_seconds(600)
    before = workspace()
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from hw1.experiments.seeds import in_place\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code + "in_place({2: 'two'}, 'train')"], stderr=subprocess.PIPE, text=True
    )
    while "training" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}; what is finished is kept; the same command goes on from here" in said
    assert workspace() == before and finished() == []
    assert not list(Path(".dvc/tmp/exps/standalone").glob("tmp*"))
    assert not [found for found in psutil.process_iter(["cwd"]) if str(found.info["cwd"]).startswith(f"{repository}/")]
