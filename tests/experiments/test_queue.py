"""What an experiment's identity follows from, and what is made of the queue's words."""

import time

import pytest
import yaml

from hw1.experiments import pipeline
from hw1.experiments.pipeline import identity, tasks_in, wait_for, workers_in
from hw1.run.errors import InputError

LOCK = {
    "download": {"cmd": "get", "params": {"params.yaml": {"data": "x"}}, "outs": [{"path": "raw.zip", "md5": "z"}]},
    "pretrain": {
        "cmd": "pretrain",
        "deps": [{"path": "raw.zip", "md5": "z"}, {"path": "pretrain.py", "md5": "p"}],
        "params": {"params.yaml": {"seed": 1, "lr": 0.1}},
        "outs": [{"path": "models/byol", "md5": "b1"}],
    },
    "finetune@A": {
        "cmd": "finetune A",
        "deps": [{"path": "models/byol", "md5": "b1"}, {"path": "finetune.py", "md5": "f"}],
        "params": {"params.yaml": {"seed": 1}},
        "outs": [{"path": "models/finetune/A", "md5": "a1"}],
    },
    "evaluate": {
        "cmd": "evaluate",
        "deps": [{"path": "models/finetune", "md5": "m1"}, {"path": "evaluate.py", "md5": "e"}],
        "outs": [{"path": "metrics.json", "md5": "j1"}],
    },
    "segment": {"cmd": "segment", "deps": [{"path": "segment.py", "md5": "s"}], "outs": [{"path": "s", "md5": "s1"}]},
}


@pytest.fixture
def identity_with():
    def of(*changes):
        """With the value at each path of keys changed."""
        lock = yaml.safe_load(yaml.safe_dump(LOCK))
        for *path, key, value in changes:
            node = lock
            for step in path:
                node = node[step]
            node[key] = value
        return identity(yaml.safe_dump({"stages": lock}), "evaluate", apart_from="seed")

    return of


def test_seed_and_what_it_changes_do_not_matter(identity_with):
    seed = [("pretrain", "params", "params.yaml", "seed", 2), ("finetune@A", "params", "params.yaml", "seed", 2)]
    made = [
        ("pretrain", "outs", 0, "md5", "b2"),
        ("finetune@A", "deps", 0, "md5", "b2"),
        ("finetune@A", "outs", 0, "md5", "a2"),
        ("evaluate", "deps", 0, "md5", "m2"),
        ("evaluate", "outs", 0, "md5", "j2"),
    ]
    assert identity_with(*seed, *made) == identity_with()


@pytest.mark.parametrize(
    "change",
    [
        ("download", "outs", 0, "md5", "another archive"),
        ("pretrain", "params", "params.yaml", "lr", 0.2),
        ("pretrain", "deps", 1, "md5", "another pretrain.py"),
        ("finetune@A", "deps", 1, "md5", "another finetune.py"),
        ("evaluate", "cmd", "evaluate otherwise"),
    ],
)
def test_whatever_else_comes_before_matters(change, identity_with):
    assert identity_with(change) != identity_with()


def test_other_stages_do_not_matter(identity_with):
    assert identity_with(("segment", "deps", 0, "md5", "another segment.py")) == identity_with()


STATUS = """Task     Name        Created       Status
4c1f2a0  seed-2-abc  Nov 24, 2026  Running
9d3e7b1  seed-3-abc  11:41 PM      Queued
1f0a9c2              11:30 PM      Success
77aa001  seed-4-abc  11:29 PM      Failed

Worker status: 1 active, 1 idle
"""


def test_tasks_and_workers_are_read_from_the_queues_status():
    tasks = tasks_in(STATUS)
    assert {name: tasks[name] for name in tasks if name.startswith("seed")} == {
        "seed-2-abc": "Running",
        "seed-3-abc": "Queued",
        "seed-4-abc": "Failed",
    }
    assert workers_in(STATUS) == 2
    assert tasks_in("No experiment tasks in the queue.") == {} and workers_in("") == 0


@pytest.fixture
def queue(monkeypatch):
    """Lets the queue say one text after another, the last one for ever, and these experiments be finished then."""

    def script(*looks):
        looks = list(looks)
        state = {}

        def dvc(*arguments):
            state["status"], state["finished"] = looks.pop(0) if len(looks) > 1 else looks[0]
            return state["status"]

        monkeypatch.setattr(pipeline, "POLL", 0.0)
        monkeypatch.setattr(pipeline, "dvc", dvc)
        monkeypatch.setattr(pipeline, "experiments", lambda: dict.fromkeys(state["finished"], "ref"))
        monkeypatch.setattr(pipeline, "_last_words", lambda done: "the log's end")
        monkeypatch.setattr(pipeline, "_run", lambda *command: None)

    return script


def line(status, workers=1):
    row = f"1  a  now  {status}\n" if status else ""
    return f"{row}Worker status: {workers} active, 0 idle"


def test_wait_ends_with_the_last_experiment(queue, capsys):
    queue((line("Queued"), []), (line("Running"), []), (line("Success"), ["a"]))
    wait_for(["a"])
    assert "a: done after 0 s" in capsys.readouterr().err


def test_task_that_slips_through_one_look_is_not_taken_for_a_failure(queue):
    queue((line("Queued"), []), (line(None), []), (line("Running"), []), (line("Success"), ["a"]))
    wait_for(["a"])


def test_failed_task_is_told_with_its_logs_end(queue):
    queue((line("Running"), []), (line("Failed"), []))
    with pytest.raises(InputError, match=r"a failed \(`dvc queue logs a`\): the log's end"):
        wait_for(["a"])


def test_queue_without_workers_is_not_waited_for(queue):
    queue((line("Queued", workers=0), []))
    with pytest.raises(InputError, match="no worker of DVC's queue is running for a; call this again"):
        wait_for(["a"])


def test_command_that_leaves_a_process_behind_is_not_waited_for():
    started = time.monotonic()
    done = pipeline._run("sh", "-c", "sleep 20 & echo started; echo told >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "started\n", "told\n")
    assert time.monotonic() - started < 10
