"""Results kept of trainings over seeds, and the copies of the project in which they run."""

import subprocess
from pathlib import Path

import pytest
import yaml
from closure import ROOT

from hw1.experiments import seeds as module
from hw1.experiments.seeds import accuracies, clones, collect, train
from hw1.repro.graph import Plan, Task
from hw1.run.errors import InputError


@pytest.fixture
def folders(tmp_path):
    """Folders of seeds 1, which is the project itself, and 2."""
    found = {seed: tmp_path / f"seed-{seed}" for seed in (1, 2)}
    for seed, folder in found.items():
        (folder / "plots/predictions").mkdir(parents=True)
        for problem in ("p1", "p2"):
            (folder / f"plots/predictions/{problem}.csv").write_text(f"image,label,A\n0.jpg,0,{seed}\n")
        tiles = f"image,model,class,both,truth,predicted,pixels\n0,A,urban,{seed},9,9,99\n"
        (folder / "plots/predictions/p3.csv").write_text(tiles)
        (folder / "models/history/finetune").mkdir(parents=True)
        (folder / "models/history/finetune/A.csv").write_text(f"epoch,val_accuracy\n1,0.1\n2,0.{seed}\n")
    return found


def test_kept_are_these_seeds_and_nothing_older(folders, tmp_path):
    kept = tmp_path / "plots/seeds"
    (kept / "7").mkdir(parents=True)
    for name in ("7/p1.csv", "README.md"):
        (kept / name).write_text("older")
    assert sorted(collect(folders, kept)) == [1, 2]
    assert sorted(path.name for path in kept.iterdir()) == ["1", "2", "README.md"]
    for problem in ("p1", "p2", "p3"):
        for seed, folder in folders.items():
            theirs = folder / f"plots/predictions/{problem}.csv"
            assert (kept / f"{seed}/{problem}.csv").read_bytes() == theirs.read_bytes()
    assert accuracies(folders, "A").to_dict() == {1: 0.1, 2: 0.2}  # the last of its histories


def test_pipeline_that_is_not_up_to_date_must_be_run_first(monkeypatch):
    monkeypatch.setattr("hw1.experiments.seeds.plan", lambda *_: Plan({Task("evaluate@p1", Path()): set()}))
    with pytest.raises(InputError, match="evaluate: not up to date; run `dvc repro` first"):
        train({2: Path("2")}, "evaluate", 1, Path())


def test_copy_differs_in_its_seed_and_shares_the_cache(project):
    """The project's cache lies elsewhere, by a setting of this machine's own."""
    (project.folder / "params.yaml").write_text("seed: 1  # of every draw\nlr: {left: 0.1, right: 0.1}\n")
    (project.folder / "elsewhere").mkdir()
    project.run("config", "--local", "cache.dir", str(project.folder / "elsewhere"), module="dvc")
    project.run("config", "--local", "core.autostage", "false", module="dvc")
    with clones(project.folder, [2, 3]) as folders:
        for seed, folder in folders.items():
            text = project.text("params.yaml").replace("seed: 1", f"seed: {seed}")
            assert (folder / "params.yaml").read_text() == text
            assert (folder / "dvc.yaml").read_text() == project.text("dvc.yaml")
            told = (folder / ".dvc/config.local").read_text()
            assert f"dir = {project.folder / 'elsewhere'}\n" in told and "autostage = false" in told
    assert not (project.folder / module.COPIES).exists()
    assert yaml.safe_load(project.text("params.yaml"))["seed"] == 1


def test_seeds_train_in_a_shallow_clone_as_anywhere(project, monkeypatch):
    """Their copies need no history: a clone of depth 1 has none."""

    def git(*command):
        done = subprocess.run(["git", *command], cwd=project.folder, capture_output=True, text=True, check=True)
        return done.stdout

    project.run()
    git("add", "-A")
    git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "project")
    (project.folder / ".git/shallow").write_text(git("rev-parse", "HEAD"))
    assert git("rev-parse", "--is-shallow-repository") == "true\n"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(module, "COPIED", (*module.COPIED, "step.py", "code", "seed.txt", "told.json"))
    with clones(project.folder, [2]) as folders:
        train(folders, "left", 1, project.folder)
        assert (folders[2] / "left.txt").is_file()
