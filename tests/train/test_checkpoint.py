"""States of a training: stopped anywhere and gone on with, it ends with the same bits."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hw1 import supervision
from hw1.data.batches import Batches
from hw1.errors import InputError
from hw1.models.byol import Byol
from hw1.models.card import Card, snapshots
from hw1.params import Byol as ByolParams
from hw1.params import Supervised, flat, load
from hw1.runtime import Machine
from hw1.train import checkpoint as module
from hw1.train import classification, pretraining
from hw1.train.checkpoint import checkpointed
from hw1.train.loop import fit
from hw1.train.tracking import Tracker

CPU = Machine(torch.device("cpu"), None, 0.5)
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8)
EPOCHS, STEPS = 3, 9  # of 4, 4 and 2 images
PARAMS = load(Path(__file__).parents[2] / "presets/quick.yaml")
CARD = Card("finetune@A", EPOCHS, 3, "test", 8, 8, flat(PARAMS, "backbone", "finetune", "settings.A"))


class RunsCode:
    """Runs a command where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class Killed(Exception):
    pass


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setenv("HW1_TRACKING", "off")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(supervision, "_received", None)
    return tmp_path


def backbone():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def common(optimiser):
    numbers = {"batch_size": 4, "momentum": 0.9, "weight_decay": 0.01, "lr": 0.01}
    return numbers | {"epochs": EPOCHS, "optimiser": optimiser, "schedule": "cosine", "augmentation": "choice224"}


def classifier(optimiser):
    """Network, keyword arguments of fit and the batches; dropout draws from torch's own generator."""
    network = nn.Sequential(backbone(), nn.Dropout(0.5), nn.Linear(6, 3))
    training, generator = Supervised(**common(optimiser), loss="cross_entropy"), torch.Generator().manual_seed(1)
    batches = Batches(IMAGES, np.arange(10) % 3, 4, CPU)
    loss_of = classification.classifier_loss(network, training, generator)
    scores = classification.classifier_scores(network, batches, CPU, 3)
    return network, batches, loss_of, training, {"generator": generator, "validate": scores}


def byol(optimiser):
    network = Byol(backbone(), 6, 8, 4)
    training = ByolParams(**common(optimiser), hidden=8, projection=4, ema=0.9, collapse_spread=0.2, on_collapse="warn")
    generator = torch.Generator().manual_seed(1)
    loss_of = pretraining.byol_loss_of(network, training, generator)
    update = pretraining.target_update(network, training)
    return network, Batches(IMAGES, None, 4, CPU), loss_of, training, {"generator": generator, "after_step": update}


KINDS = {
    "classifier, adam": lambda: classifier("adam"),
    "classifier, sgd": lambda: classifier("sgd"),
    "byol, adam": lambda: byol("adam"),
}


def train(kind, folder, minutes=1e-9, parameters=None, stop=lambda step: None):
    """Weights of every tensor, rows and snapshots' bytes of a training; ``stop`` gets the number of each step."""
    torch.manual_seed(0)
    network, batches, loss_of, training, options = KINDS[kind]()
    inner = options.pop("after_step", lambda step, steps: {})

    def after_step(step, steps):
        stop(step)
        return inner(step, steps)

    folder.mkdir(exist_ok=True)
    with checkpointed("x@A", parameters or {"lr": 0.01}, [], minutes) as checkpoint:
        checkpoint.include(folder)
        rows = fit(
            network,
            batches,
            loss_of,
            section="x",
            training=training,
            lr=training.lr,
            machine=CPU,
            tracker=Tracker("x@A"),
            checkpoint=checkpoint,
            after_step=after_step,
            after_epoch=snapshots(network, folder, CARD, EPOCHS, [1, 2, 3]),
            **options,
        )
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}, rows, files


def assert_equal(one, other):
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    assert one[1] == other[1]
    assert one[2] == other[2]


def killer(at):
    def stop(step):
        if step == at:
            raise Killed

    return stop


def states(root):
    return sorted(root.glob(".checkpoints/*/*.pt"))


# -- going on


@pytest.mark.parametrize("minutes", [1e-9, 60], ids=["state after each step", "state after each epoch"])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_step_and_gone_on_with_it_ends_bit_equal(kind, minutes, root):
    whole = train(kind, root / "whole")
    for at in range(1, STEPS + 1):
        with pytest.raises(Killed):
            train(kind, root / f"out{at}", minutes, stop=killer(at))
        for path in (root / f"out{at}").iterdir():  # a stage's outputs are deleted before it runs again
            path.unlink()
        steps = []
        assert_equal(train(kind, root / f"out{at}", minutes, stop=steps.append), whole)
        first = at if minutes < 1 else (at - 1) // 3 * 3 + 1
        assert steps == list(range(first, STEPS + 1))
        assert not (root / ".checkpoints").exists()


def test_killed_again_and_again_it_ends_bit_equal(root):
    whole = train("byol, adam", root / "whole")
    for at in (2, 3, 3, 5, 8):
        with pytest.raises(Killed):
            train("byol, adam", root / "out", stop=killer(at))
    assert_equal(train("byol, adam", root / "out"), whole)


def test_killed_after_the_last_epoch_it_trains_no_more(root):
    whole = train("classifier, adam", root / "whole")

    def fail(*_):
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Tracker, "log_metrics", fail)
        train("classifier, adam", root / "out")
    steps = []
    assert_equal(train("classifier, adam", root / "out", stop=steps.append), whole)
    assert steps == []


@pytest.mark.parametrize("minutes, kept", [(1e-9, 4), (60, 3)], ids=["state after each step", "state after each epoch"])
def test_training_whose_weights_are_no_numbers_stops_and_keeps_the_last_good_state(minutes, kept, root, monkeypatch):
    whole, finite = train("byol, adam", root / "whole"), torch.optim.Adam.step
    count = []

    def spoils(optimiser, closure=None):
        finite(optimiser, closure)
        count.append(1)
        if len(count) == 5:
            optimiser.param_groups[0]["params"][0].data[0] = float("nan")

    with monkeypatch.context() as patch, pytest.raises(InputError, match=r"x: .* is nan in epoch 2: training diverged"):
        patch.setattr(torch.optim.Adam, "step", spoils)
        train("byol, adam", root / "out", minutes)
    newest = torch.load(states(root)[-1], weights_only=True)
    assert newest["done"] == kept
    assert all(tensor.isfinite().all() for tensor in newest["network"].values())
    assert_equal(train("byol, adam", root / "out", minutes), whole)


def test_signal_lets_the_step_end_writes_the_state_and_raises_its_status(root, monkeypatch):
    whole = train("classifier, adam", root / "whole")
    monkeypatch.setattr(supervision.atexit, "register", lambda function: None)
    with pytest.raises(SystemExit) as stopped:
        train("classifier, adam", root / "out", 60, stop=lambda step: supervision._answer(15, None) if step == 5 else 0)
    assert stopped.value.code == 143
    assert len(states(root)) == 2
    monkeypatch.setattr(supervision, "_received", None)
    steps = []
    assert_equal(train("classifier, adam", root / "out", 60, stop=steps.append), whole)
    assert steps == [6, 7, 8, 9]


def test_signal_during_validation_writes_the_state_before_it(root, monkeypatch):
    whole = train("classifier, adam", root / "whole")
    monkeypatch.setattr(supervision.atexit, "register", lambda function: None)
    scores = classification.accuracy

    def stopped_scores(confusion):
        supervision._answer(2, None)
        return scores(confusion)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(classification, "accuracy", stopped_scores)
        train("classifier, adam", root / "out", 60)
    assert stopped.value.code == 130
    monkeypatch.setattr(supervision, "_received", None)
    steps = []
    assert_equal(train("classifier, adam", root / "out", 60, stop=steps.append), whole)
    assert steps == [4, 5, 6, 7, 8, 9]


# -- damage


def interrupted(root, at=6):
    with pytest.raises(Killed):
        train("classifier, adam", root / "out", stop=killer(at))
    return states(root)


def test_two_states_are_kept(root):
    assert [path.name[:9] for path in interrupted(root)] == ["000000005", "000000006"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:3000] + b"\x00\x01" + path.read_bytes()[3002:]),
    ],
    ids=["torn", "empty", "changed"],
)
def test_damaged_state_is_told_and_the_one_before_it_used(damage, root, capsys):
    whole = train("classifier, adam", root / "whole")
    damage(interrupted(root)[-1])
    steps = []
    assert_equal(train("classifier, adam", root / "out", stop=steps.append), whole)
    assert steps[0] == 5
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "is not whole; going on from the one before" in told[0]


def test_without_any_whole_state_it_starts_at_the_beginning(root):
    whole = train("classifier, adam", root / "whole")
    for path in interrupted(root):
        path.write_bytes(b"x")
    steps = []
    assert_equal(train("classifier, adam", root / "out", stop=steps.append), whole)
    assert steps[0] == 1


def test_state_whose_snapshots_are_damaged_is_not_used(root):
    whole = train("classifier, adam", root / "whole")
    kept = interrupted(root)[-1].parent / "epoch_1.safetensors"
    kept.unlink()
    kept.write_bytes(b"x")
    for path in (root / "out").iterdir():
        path.unlink()
    assert_equal(train("classifier, adam", root / "out"), whole)


def test_state_that_would_run_code_is_not_used(root):
    path = interrupted(root)[-1]
    marker = root / "ran"
    evil = pickle.dumps(RunsCode(f"touch {marker}"))
    path.unlink()
    evil_path = path.with_name(f"000000009.{module.hashlib.sha256(evil).hexdigest()}.pt")
    evil_path.write_bytes(evil)
    train("classifier, adam", root / "out")
    assert not marker.exists()


# -- what a state belongs to


def test_changed_parameter_starts_afresh_and_is_named(root, capsys):
    interrupted(root)
    steps = []
    train("classifier, adam", root / "out", parameters={"lr": 0.5}, stop=steps.append)
    assert steps[0] == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("x@A: starts afresh") and told.endswith(": lr was 0.01 and is 0.5")
    assert len(states(root)) == 2  # those of the other parameters


def folder_of(root, data, parameters=None):
    with checkpointed("x@A", parameters or {}, [data], 1.0):
        (folder,) = (root / ".checkpoints").iterdir()
    return folder.name


def test_key_follows_from_parameters_data_and_code(root, monkeypatch):
    data = root / "data"
    data.mkdir()
    (data / "images.npy").write_bytes(b"1")
    first = folder_of(root, data)
    assert folder_of(root, data) == first
    assert folder_of(root, data, {"lr": 1.0}) != first
    (data / "images.npy").write_bytes(b"2")
    assert folder_of(root, data) != first
    (data / "images.npy").write_bytes(b"1")
    monkeypatch.setattr(module, "_loaded_code", lambda: {"hw1/train/loop.py": "another"})
    assert folder_of(root, data) != first


def test_code_of_the_key_is_what_a_stage_loads(root):
    code = "import hw1.data.classes, hw1.train.checkpoint as c, json; print(json.dumps(sorted(c._loaded_code())))"
    project = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        "hw1/data/classes.py",
        "hw1/errors.py",
        "hw1/files.py",
        "hw1/ranks.py",
        "hw1/train/checkpoint.py",
    ]


# -- disks


def test_disk_that_takes_no_state_is_told_once_and_the_training_ends_the_same(root, monkeypatch, capsys):
    whole = train("classifier, adam", root / "whole")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    assert_equal(train("classifier, adam", root / "out"), whole)
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("x@A: no state could be written ([Errno 28] No space left on device)")


def test_root_that_takes_no_folder_is_told_once_and_the_training_ends_the_same(root, capsys):
    whole = train("classifier, adam", root / "whole")
    (root / ".checkpoints").write_text("a file")
    assert_equal(train("classifier, adam", root / "out"), whole)
    (told,) = capsys.readouterr().err.splitlines()
    assert "no state can be kept in" in told
