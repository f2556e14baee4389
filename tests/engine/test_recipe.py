"""What surrounds a training: the weights that are kept, and a stage's outputs, whole or not at all."""

import json
import shutil

import numpy as np
import pytest
import torch
from closure import ROOT
from torch import nn
from trainings import CPU, supervised

from hw1.data.arrays import Manifest
from hw1.engine.card import read_card
from hw1.engine.recipe import Recipe, Run, begin
from hw1.engine.weights import BEST, load_weights, picture_epochs, snapshot_file
from hw1.images.batches import Batches
from hw1.run.parameters.params import flat, load
from hw1.run.tracking.tracking import Tracker

PARAMS = load(ROOT / "presets/quick.yaml")
MANIFEST = Manifest("made up", 36, 32, "bicubic", 3, ["a.jpg"], [])
PATHS = ("seed", "runtime", "pretrain.byol")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "data").mkdir()
    MANIFEST.save(tmp_path / "data")
    return tmp_path


def begun(project):
    writes = {"weights": project / "weights", "history": project / "history.csv"}
    return begin("pretrain@byol", PARAMS, PATHS, [project / "data"], writes)


def recipe_of(network, epochs):
    images, training = Batches(np.zeros((4, 8, 8, 3), np.uint8), None, 4, CPU), supervised(epochs=epochs)
    return Recipe(network, images, lambda images, labels: None, training, "classify.A", score="val_accuracy")


def test_weights_of_chosen_epochs_are_kept_and_say_their_epochs(tmp_path):
    trained, loaded = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    used, drafts = flat(PARAMS, "seed", "runtime", "classify.A"), {"weights": tmp_path}
    run = Run(CPU, torch.Generator(), Tracker("x"), stage="classify@A", used=used, manifest=MANIFEST, drafts=drafts)
    kept = recipe_of(trained, 5).keeping(picture_epochs(5), run)
    rows = [{"epoch": epoch, "val_accuracy": score} for epoch, score in enumerate((0.1, 0.3, 0.5, 0.5, 0.4), 1)]
    for epoch in range(1, 6):
        nn.init.constant_(trained.weight, epoch)
        assert kept.after_epoch(rows[epoch - 1], rows[: epoch - 1]) == {}
    paths = {epoch: snapshot_file(tmp_path, epoch, 5) for epoch in (1, 2, 5)} | {3: tmp_path / BEST}  # the first of two
    assert set(tmp_path.iterdir()) == set(paths.values())
    for epoch, path in paths.items():
        load_weights(loaded, path)
        card = read_card(path)
        assert (card.epoch, card.classes, card.crop, card.parameters) == (epoch, 3, 32, used)
        assert loaded.weight.item() == epoch


def test_outputs_are_there_when_the_block_ends_and_not_before(project):
    with begun(project) as run:
        run.drafts["history"].write_text("epoch\n")
        (run.drafts["weights"] / "w").touch()
        assert not (project / "history.csv").exists() and not (project / "weights").exists()
    assert (project / "history.csv").read_text() == "epoch\n"
    assert [path.name for path in (project / "weights").iterdir()] == ["w"]


def test_outputs_of_a_block_that_fails_are_not_left(project):
    with pytest.raises(ZeroDivisionError), begun(project) as run:
        run.drafts["history"].write_text("epoch\n")
        raise ZeroDivisionError
    assert sorted(path.name for path in project.iterdir()) == ["data"]


def test_two_runs_of_one_seed_draw_the_same_and_have_one_state_whatever_is_done_about_a_collapse(project):
    draws = []
    for _ in range(2):
        shutil.rmtree(project / "weights", ignore_errors=True)
        with begun(project) as run:
            run.drafts["history"].touch()
            draws.append((torch.rand(3), torch.rand(3, generator=run.generator)))
            (identity,) = project.glob(".checkpoints/*/identity.json")
            determining = json.loads(identity.read_text())["parameters"]
    assert all(torch.equal(one, other) for one, other in zip(*draws, strict=True))
    assert set(run.used) - set(determining) == {"pretrain.byol.on_collapse"}
