"""Which seeds are trained, and which finished ones are taken."""

from pathlib import Path

import pytest
from closure import ROOT

from hw1.experiments import seeds
from hw1.experiments.seeds import accuracies, collect, train
from hw1.run.errors import InputError


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A root whose seed 1 is trained, and made-up DVC: the commands it was given, experiments with their files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "presets/quick.yaml").read_text())
    (tmp_path / "dvc.lock").write_text("key of now")
    (tmp_path / "plots/predictions").mkdir(parents=True)
    (tmp_path / "plots/predictions/p2.csv").write_text("image,label,A\n0.jpg,0,0\n")
    made = Made()
    monkeypatch.setattr(seeds, "up_to_date", lambda target: made.up_to_date)
    monkeypatch.setattr(seeds, "identity", lambda lock, target, apart_from: f"{lock.split()[-1]:0<12}")
    monkeypatch.setattr(seeds, "experiments", lambda: {name: name for name in made.files})
    monkeypatch.setattr(seeds, "git", lambda verb, path: made.files[path.partition(":")[0]][path.partition(":")[2]])
    monkeypatch.setattr(seeds, "dvc", made.dvc)
    monkeypatch.setattr(seeds, "wait_for", made.finish)
    return made


class Made:
    def __init__(self):
        self.up_to_date, self.commands, self.files, self.status = True, [], {}, ""

    def dvc(self, *arguments):
        self.commands.append(" ".join(arguments))
        return self.status

    def finish(self, names):
        for name in names:
            self.add(name, "key of now")

    def add(self, name, lock):
        predictions = f"image,label,A\n0.jpg,0,{name.split('-')[1]}\n"
        history = f"epoch,val_accuracy\n1,0.1\n2,0.{name.split('-')[1]}\n"
        files = {"dvc.lock": lock, "plots/predictions/p2.csv": predictions}
        self.files[name] = files | {"plots/history/finetune/A.csv": history}


def test_missing_seeds_are_queued_and_the_current_one_is_not(project):
    assert train([1, 2, 3], "evaluate@p2", 2) == {2: "seed-2-now0000000", 3: "seed-3-now0000000"}
    queued = [command for command in project.commands if command.startswith("exp run")]
    assert queued == [f"exp run --queue -f -n seed-{seed}-now0000000 -S seed={seed} evaluate@p2" for seed in (2, 3)]
    assert project.commands[-1] == "queue start -j 2"


def test_finished_seeds_are_not_trained_again(project):
    project.add("seed-2-now0000000", "key of now")
    assert train([1, 2], "evaluate@p2", 1) == {2: "seed-2-now0000000"}
    assert project.commands == []


def test_experiment_of_that_name_with_another_lock_is_trained_anew(project):
    project.add("seed-2-now0000000", "key of before")
    train([1, 2], "evaluate@p2", 1)
    assert "exp run --queue -f -n seed-2-now0000000 -S seed=2 evaluate@p2" in project.commands


def test_seed_that_waits_in_the_queue_is_not_queued_twice_and_a_failed_one_again(project):
    project.status = "1 seed-2-now0000000 now Queued\n2 seed-3-now0000000 now Failed\n"
    train([1, 2, 3], "evaluate@p2", 1)
    assert project.commands[1:] == [
        "queue remove seed-3-now0000000",
        "exp run --queue -f -n seed-3-now0000000 -S seed=3 evaluate@p2",
        "queue start -j 1",
    ]


def test_pipeline_that_is_not_up_to_date_must_be_run_first(project):
    project.up_to_date = False
    with pytest.raises(InputError, match="evaluate@p2: not up to date; run `dvc repro` first"):
        train([1, 2], "evaluate@p2", 1)
    assert project.commands == []


def test_collected_are_the_current_seed_and_the_others_and_nothing_older(project):
    folder = Path("plots/seeds")
    folder.mkdir()
    for name in ("7.csv", "README.md"):
        (folder / name).write_text("older")
    assert sorted(collect(train([1, 2], "evaluate@p2", 1), folder)) == [1, 2]
    assert sorted(path.name for path in folder.iterdir()) == ["1.csv", "2.csv", "README.md"]
    assert (folder / "1.csv").read_bytes() == Path("plots/predictions/p2.csv").read_bytes()
    assert (folder / "2.csv").read_text().endswith("0.jpg,0,2\n")


def test_accuracies_of_one_setting_are_the_last_of_its_histories(project):
    project.add("seed-2-now0000000", "key of now")
    history = Path("plots/history/finetune/A.csv")
    history.parent.mkdir(parents=True)
    history.write_text("epoch,val_accuracy\n1,0.3\n2,0.75\n")
    values = accuracies(train([1, 2], "finetune@A", 1), "A")
    assert values.to_dict() == {1: 0.75, 2: 0.2}
