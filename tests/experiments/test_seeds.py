"""Which seeds are trained, and which finished ones are taken."""

from functools import partial
from pathlib import Path

import pytest
from closure import ROOT

from hw1.experiments import seeds
from hw1.experiments.queue import Task
from hw1.experiments.seeds import accuracies, collect, train
from hw1.run.errors import InputError


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A root whose seed 1 is trained, and made-up DVC: the commands it was given, experiments with their files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "presets/quick.yaml").read_text().replace("seed: 5 ", "seed: 1 ", 1))
    (tmp_path / "dvc.lock").write_text("key of now")
    (tmp_path / "plots/predictions").mkdir(parents=True)
    for problem in ("p1", "p2"):
        (tmp_path / f"plots/predictions/{problem}.csv").write_text("image,label,A\n0.jpg,0,0\n")
    tiles = "image,model,class,both,truth,predicted,pixels\n0,A,urban,1,9,9,99\n"
    (tmp_path / "plots/predictions/p3.csv").write_text(tiles)
    made = Made()
    monkeypatch.setattr(seeds, "up_to_date", lambda target: made.up_to_date)
    monkeypatch.setattr(seeds, "identity", lambda lock, target, apart_from: f"{lock.split()[-1]:0<12}")
    monkeypatch.setattr(seeds, "finished", lambda: list(made.files))
    monkeypatch.setattr(seeds, "text_of", lambda path, name: made.files[name][path])
    monkeypatch.setattr(seeds, "head", lambda: "c0ffee")
    monkeypatch.setattr(seeds, "dvc", made.dvc)
    monkeypatch.setattr(seeds, "follow", made.follow)
    monkeypatch.setattr(seeds, "answer_signals", lambda advice: None)
    monkeypatch.setattr(seeds, "known", made.known)
    monkeypatch.setattr(seeds, "take_out", lambda name, task: made.commands.append(f"take out {name}"))
    monkeypatch.setattr(seeds, "wait_for", made.wait_for)
    return made


class Made:
    def __init__(self):
        self.up_to_date, self.commands, self.files, self.books = True, [], {}, {}
        self.waited, self.left = None, set()

    def dvc(self, *arguments):
        self.commands.append(" ".join(arguments))
        if arguments[:2] == ("exp", "remove"):
            del self.files[arguments[2]]

    def follow(self, *arguments):
        self.dvc(*arguments)
        self.add(arguments[arguments.index("-n") + 1], "key of now")

    def known(self, names):
        return {name: task for name, task in self.books.items() if name in names}

    def wait_for(self, names, commits):
        self.waited = (set(names), commits)
        for name in self.waited[0] - self.left:
            self.add(name, "key of now")
        return self.left

    def add(self, name, lock):
        predictions = f"image,label,A\n0.jpg,0,{name.split('-')[1]}\n"
        history = f"epoch,val_accuracy\n1,0.1\n2,0.{name.split('-')[1]}\n"
        tiles = f"image,model,class,both,truth,predicted,pixels\n0,A,urban,{name.split('-')[1]},9,9,99\n"
        files = {"dvc.lock": lock, "plots/predictions/p3.csv": tiles}
        files |= {f"plots/predictions/{problem}.csv": predictions for problem in ("p1", "p2")}
        self.files[name] = files | {"models/history/finetune/A.csv": history}


def queue(jobs=1):
    return partial(seeds.in_queue, jobs=jobs, instead="goes on")


def name(seed):
    return f"seed-{seed}-now0000000"


def test_missing_seeds_are_queued_and_the_current_one_is_not(project):
    assert train([1, 2, 3], "evaluate", queue(jobs=2)) == {2: name(2), 3: name(3)}
    queued = [f"exp run --queue -n {name(seed)} -S seed={seed} evaluate" for seed in (2, 3)]
    assert project.commands == [*queued, "queue start -j 2"]
    assert project.waited == ({name(2), name(3)}, {"c0ffee"})


def test_in_place_missing_seeds_are_trained_one_by_one_without_the_queue(project):
    assert train([1, 2, 3], "evaluate", seeds.in_place) == {2: name(2), 3: name(3)}
    assert project.commands == [f"exp run --temp -n {name(seed)} -S seed={seed} evaluate" for seed in (2, 3)]


def test_finished_seeds_are_not_trained_again(project):
    project.add(name(2), "key of now")
    assert train([1, 2], "evaluate", queue()) == {2: name(2)}
    assert project.commands == []


def test_experiment_of_that_name_with_another_lock_is_trained_anew(project):
    project.add(name(2), "key of before")
    train([1, 2], "evaluate", queue())
    assert project.commands[:2] == [
        f"exp remove {name(2)}",
        f"exp run --queue -n {name(2)} -S seed=2 evaluate",
    ]


def test_seed_that_waits_or_runs_is_not_queued_twice_and_waited_for_where_it_began(project):
    project.books = {name(2): Task("queued", "01d", None), name(3): Task("running", "01de7", 7)}
    train([1, 2, 3], "evaluate", queue())
    assert project.commands == ["queue start -j 1"]
    assert project.waited == ({name(2), name(3)}, {"c0ffee", "01d", "01de7"})


@pytest.mark.parametrize("state", ["failed", "lost"])
def test_failed_or_lost_seed_is_taken_out_and_queued_again(state, project):
    project.books = {name(2): Task(state, "01d", None)}
    train([1, 2], "evaluate", queue())
    assert project.commands[:2] == [
        f"take out {name(2)}",
        f"exp run --queue -n {name(2)} -S seed=2 evaluate",
    ]


def test_queue_that_stands_still_ends_in_the_command_that_goes_on(project):
    project.left = {name(3)}
    with pytest.raises(InputError, match=f"^DVC's queue stands still before {name(3)}; `goes on` goes on without it"):
        train([1, 2, 3], "evaluate", queue())


def test_in_place_takes_what_waits_out_of_the_queue_before_it_trains(project):
    project.books = {name(3): Task("queued", "01d", None)}
    train([1, 2, 3], "evaluate", seeds.in_place)
    assert project.commands[0] == f"take out {name(3)}" and len(project.commands) == 3


def test_in_place_trains_nothing_while_the_queue_trains_one_of_the_seeds(project):
    project.books = {name(3): Task("running", "01d", 7)}
    with pytest.raises(InputError, match=f"{name(3)} runs as process 7; `dvc queue kill {name(3)}` ends it"):
        train([1, 2, 3], "evaluate", seeds.in_place)
    assert project.commands == []


def test_pipeline_that_is_not_up_to_date_must_be_run_first(project):
    project.up_to_date = False
    with pytest.raises(InputError, match="evaluate: not up to date; run `dvc repro` first"):
        train([1, 2], "evaluate", queue())
    assert project.commands == []


def test_collected_are_the_current_seed_and_the_others_and_nothing_older(project):
    folder = Path("plots/seeds")
    (folder / "7").mkdir(parents=True)
    for name in ("7/p1.csv", "README.md"):
        (folder / name).write_text("older")
    assert sorted(collect(train([1, 2], "evaluate", queue()), folder)) == [1, 2]
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "README.md"]
    for problem in ("p1", "p2", "p3"):
        kept = (folder / f"1/{problem}.csv").read_bytes()
        assert kept == Path(f"plots/predictions/{problem}.csv").read_bytes()
    assert (folder / "2/p2.csv").read_text().endswith("0.jpg,0,2\n")
    assert (folder / "2/p3.csv").read_text().endswith(",urban,2,9,9,99\n")


def test_accuracies_of_one_setting_are_the_last_of_its_histories(project):
    project.add(name(2), "key of now")
    history = Path("models/history/finetune/A.csv")
    history.parent.mkdir(parents=True)
    history.write_text("epoch,val_accuracy\n1,0.3\n2,0.75\n")
    values = accuracies(train([1, 2], "finetune@A", queue()), "A")
    assert values.to_dict() == {1: 0.75, 2: 0.2}
