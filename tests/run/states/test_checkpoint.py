"""States of a training: stopped anywhere and gone on with, it ends with the same bits.

Those up to step ``waited`` are on disk before the next step, so that which ones there are depends on no speed.
"""

import contextlib
import dataclasses
import functools
import hashlib
import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from closure import ROOT
from torch import nn

from hw1.byol import pretraining
from hw1.byol.byol import Byol
from hw1.classify import classification
from hw1.data.arrays import Manifest
from hw1.engine.loop import fit
from hw1.engine.recipe import Recipe, Run
from hw1.images.batches import Batches
from hw1.images.machine import Machine
from hw1.run.errors import InputError
from hw1.run.parameters.params import ByolTraining, Supervised, flat, load
from hw1.run.processes import supervision
from hw1.run.states import checkpoint as module
from hw1.run.states.checkpoint import Checkpoint, checkpointed
from hw1.run.tracking.tracking import Tracker

CPU = Machine(torch.device("cpu"), None, 0.5)
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8)
EPOCHS, STEPS = 3, 9  # of 4, 4 and 2 images
PARAMS = load(ROOT / "presets/quick.yaml")
LONG = 60  # seconds that a test waits for another thread or process before it fails
MANIFEST = Manifest("test", 8, 8, "bicubic", 3, [], [])
USED = flat(PARAMS, "backbone", "finetune", "settings.A")


class Killed(Exception):
    pass


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setenv("HW1_TRACKING", "off")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(supervision, "_received", None)
    monkeypatch.setattr(supervision.atexit, "register", lambda function: None)
    return tmp_path


def backbone():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def common(optimiser):
    numbers = {"batch_size": 4, "momentum": 0.9, "weight_decay": 0.01, "lr": 0.01}
    return numbers | {"epochs": EPOCHS, "optimiser": optimiser, "schedule": "cosine", "augmentation": "choice224"}


def classifier(optimiser):
    """A recipe and its generator; dropout draws from torch's own generator."""
    network = nn.Sequential(backbone(), nn.Dropout(0.5), nn.Linear(6, 3))
    training, generator = Supervised(**common(optimiser)), torch.Generator().manual_seed(1)
    batches = Batches(IMAGES, np.arange(10) % 3, 4, CPU)
    loss_of = classification.classifier_loss(network, training, generator)
    scores = classification.classifier_scores(network, batches, CPU, 3)
    return Recipe(network, batches, loss_of, training, "x", validate=scores, score="val_accuracy"), generator


def byol(optimiser):
    network = Byol(backbone(), 6, 8, 4)
    own = {"hidden": 8, "projection": 4, "ema": 0.9, "collapse_spread": 0.2, "on_collapse": "warn"}
    training, generator = ByolTraining(**common(optimiser), **own), torch.Generator().manual_seed(1)
    recipe = pretraining.byol_training(network, Batches(IMAGES, None, 4, CPU), training, generator)
    changes = {"section": "x", "score": "epoch", "after_epoch": lambda row, before: {}, "gradient_norm": False}
    return dataclasses.replace(recipe, **changes), generator


RECIPES = {"classifier": classifier, "byol": byol}
KINDS = ("classifier, adam", "classifier, sgd", "byol, adam")


def train(kind, folder, minutes=1e-9, parameters=None, stop=lambda step: None, waited=STEPS):
    """Weights of every tensor, rows and snapshots' bytes of a training; ``stop`` gets the number of each step."""
    torch.manual_seed(0)
    name, optimiser = kind.split(", ")
    recipe, generator = RECIPES[name](optimiser)

    def after_step(step, steps):
        stop(step)
        return recipe.after_step(step, steps)

    folder.mkdir(exist_ok=True)
    with checkpointed("x@A", parameters or {"lr": 0.01}, [], minutes) as checkpoint:
        checkpoint.include(folder)
        save = checkpoint.save
        checkpoint.save = lambda state, wait=False: (save(state, wait), state["done"] > waited or checkpoint.wait())
        run = Run(CPU, generator, Tracker("x@A"), checkpoint, "finetune@A", USED, MANIFEST, {"weights": folder})
        rows = fit(dataclasses.replace(recipe, after_step=after_step).keeping([1, 2, 3], run), run)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return recipe.network.state_dict(), rows, files


@functools.cache
def whole(kind="classifier, adam"):
    """The end of a training that nothing interrupts."""
    return train(kind, Path(tempfile.mkdtemp()) / "whole")


def assert_equal(one, other):
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    assert one[1:] == other[1:]


def go_on(root, kind="classifier, adam", minutes=1e-9):
    """Train in ``root`` to the end, which must be the undisturbed one's; returns the steps that were trained."""
    steps = []
    assert_equal(train(kind, root / "out", minutes, stop=steps.append), whole(kind))
    return steps


def signalled(root, monkeypatch, minutes=60, **options):
    """Train in ``root`` until a signal ends it; returns the status."""
    with pytest.raises(SystemExit) as stopped:
        train("classifier, adam", root / "out", minutes, **options)
    monkeypatch.setattr(supervision, "_received", None)
    return stopped.value.code


def delete_outputs(root):
    """Delete a stage's outputs, as DVC does before it runs again."""
    for path in (root / "out").iterdir():
        path.unlink()


def killer(at):
    def stop(step):
        if step == at:
            raise Killed

    return stop


def full(*_):
    raise OSError(28, "No space left on device")


def states(root):
    return sorted(root.glob(".checkpoints/*/*.pt"))


# -- going on


@pytest.fixture
def unsparing(monkeypatch):
    """No epoch's state is passed over for the time it takes."""
    monkeypatch.setattr(module, "SHARE", math.inf)


@pytest.mark.parametrize("minutes", [1e-9, 60], ids=["state after each step", "state after each epoch"])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_step_and_gone_on_with_it_ends_bit_equal(kind, minutes, root, unsparing):
    few = "sgd" in kind or minutes == 60  # SGD's state is Adam's without two moments; of an epoch's one step is enough
    for at in (1, 5, STEPS) if few else range(1, STEPS + 1):
        with pytest.raises(Killed):
            train(kind, root / "out", minutes, stop=killer(at))
        delete_outputs(root)
        first = at if minutes < 1 else (at - 1) // 3 * 3 + 1
        assert go_on(root, kind, minutes) == list(range(first, STEPS + 1))
        assert not (root / ".checkpoints").exists()
        delete_outputs(root)


@pytest.mark.parametrize("minutes", [1e-9, 60], ids=["states by time", "states of epochs"])
def test_killed_at_any_step_beside_the_writing_it_ends_bit_equal(minutes, root):
    for at in range(2, STEPS + 1):
        with pytest.raises(Killed):
            train("byol, adam", root / f"out{at}", minutes, stop=killer(at), waited=0)
        steps = []
        ended = train("byol, adam", root / f"out{at}", minutes, stop=steps.append, waited=0)
        assert_equal(ended, whole("byol, adam"))
        assert steps == list(range(steps[0], STEPS + 1))
        first = 2 if minutes < 1 else 4 if at > 3 else 1  # after the first state, whose write is let end
        assert first <= steps[0] <= at


@pytest.mark.parametrize("minutes, kept", [(1e-9, 4), (60, 3)], ids=["state after each step", "state after each epoch"])
def test_training_whose_weights_are_no_numbers_stops_and_keeps_the_last_good_state(
    minutes, kept, root, monkeypatch, unsparing
):
    whole("byol, adam")
    finite, count = torch.optim.Adam.step, []

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
    go_on(root, "byol, adam", minutes)


# -- beside the training


class Gate:
    """A writer that stands at its ``at``-th state until it is let through; ``torch.save`` for the module."""

    def __init__(self, monkeypatch, at=1):
        self.entered, self.let = threading.Event(), threading.Event()
        self.written, self.running, self.most = [], 0, 0
        self._save, self._at = torch.save, at
        monkeypatch.setattr(module.torch, "save", self._write)

    def _write(self, state, path):
        self.running += 1
        self.most = max(self.most, self.running)
        self.written.append(state)
        try:
            if len(self.written) == self._at:
                self.entered.set()
                assert self.let.wait(LONG)
            self._save(state, path)
        finally:
            self.running -= 1

    @property
    def stands(self):
        return self.entered.is_set() and not self.let.is_set() and self.running == 1

    def let_waiters(self, monkeypatch):
        """Let it through as soon as the training waits for it, and note that it was standing then."""
        wait, stood = Checkpoint.wait, []

        def letting(checkpoint):
            stood.append(self.stands)
            self.let.set()
            wait(checkpoint)

        monkeypatch.setattr(Checkpoint, "wait", letting)
        return stood


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "states").mkdir()
    return tmp_path / "states"


def test_training_goes_on_while_a_state_is_written(root, monkeypatch):
    whole()
    gate, standing = Gate(monkeypatch), []

    def stop(step):
        if step > 1:
            assert gate.entered.wait(LONG)
            standing.append(gate.stands)
        if step == STEPS:
            gate.let.set()

    assert_equal(train("classifier, adam", root / "out", stop=stop, waited=0), whole())
    assert standing == [True] * (STEPS - 1)


def test_one_state_is_written_at_a_time_as_it_was_when_it_was_taken(folder, monkeypatch):
    gate, checkpoint, weight = Gate(monkeypatch), Checkpoint("x", folder, 1e-9), torch.ones(3)
    stood = gate.let_waiters(monkeypatch)
    checkpoint.save({"done": 1, "weight": weight})
    assert gate.entered.wait(LONG)
    weight.zero_()
    assert torch.equal(gate.written[0]["weight"], torch.ones(3))
    checkpoint.save({"done": 2})
    checkpoint.save({"done": 3}, wait=True)
    assert stood[0]
    assert [state["done"] for state in gate.written] == [1, 3] and gate.most == 1
    assert Checkpoint("x", folder).load()["done"] == 3


def test_state_of_an_epoch_that_comes_during_a_write_is_passed_over_and_then_due(folder, monkeypatch, unsparing):
    gate, checkpoint = Gate(monkeypatch), Checkpoint("x", folder, 60)
    checkpoint.save({"done": 1})
    assert gate.entered.wait(LONG)
    checkpoint.save({"done": 2})
    assert not checkpoint.due()
    gate.let.set()
    checkpoint.wait()
    assert checkpoint.due()
    checkpoint.save({"done": 3})
    checkpoint.wait()
    assert not checkpoint.due() and [state["done"] for state in gate.written] == [1, 3]


@pytest.mark.parametrize("minutes, due_at", [(60, 140), (1.5, 90)])
def test_states_of_epochs_take_a_tenth_of_the_time_unless_their_minutes_are_over(folder, monkeypatch, minutes, due_at):
    clock, save = SimpleNamespace(now=0.0), torch.save

    def slow(state, path):
        clock.now += 14
        save(state, path)

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(module.torch, "save", slow)
    checkpoint, due = Checkpoint("x", folder, minutes), []
    for clock.now in (0, 14, due_at - 1, due_at):
        due.append(checkpoint.due())
        checkpoint.save({"now": clock.now})
        checkpoint.wait()
    assert due[1:] == [False, False, True]
    assert len(list(folder.glob("*.pt"))) == 2 and Checkpoint("x", folder).load()["now"] == due_at


def test_signal_during_a_write_waits_for_it_and_ends_with_the_state_of_its_own_step(root, monkeypatch):
    with monkeypatch.context() as patch:
        gate = Gate(patch)
        stood = gate.let_waiters(patch)

        def stop(step):
            assert step == 1 or gate.entered.wait(LONG)
            if step == 5:
                supervision._answer(15, None)

        assert signalled(root, monkeypatch, 1e-9, stop=stop, waited=0) == 143
    assert stood[0] and [state["done"] for state in gate.written] == [1, 5]
    assert go_on(root) == [6, 7, 8, 9]


@pytest.mark.parametrize("end, kept", [(STEPS + 1, 0), (3, 1)], ids=["ends", "fails"])
def test_training_leaves_no_thread_and_the_state_that_it_wrote_only_if_it_fails(end, kept, root, monkeypatch):
    before, gate = set(threading.enumerate()), Gate(monkeypatch)
    stood = gate.let_waiters(monkeypatch)

    def stop(step):
        assert step == 1 or gate.entered.wait(LONG)
        killer(end)(step)

    with contextlib.suppress(Killed):
        train("classifier, adam", root / "out", stop=stop, waited=0)
    assert stood == [True]
    assert set(threading.enumerate()) == before
    assert len(states(root)) == kept and (root / ".checkpoints").exists() == bool(kept)
    assert all(module.sha256(state) == state.name.split(".")[1] for state in states(root))
    assert not list(root.glob(".checkpoints/*/*.tmp"))


def test_state_after_the_last_epoch_is_written_only_if_the_outputs_fail_and_then_nothing_is_trained(
    root, monkeypatch, unsparing
):
    gate = Gate(monkeypatch, at=None)
    train("classifier, adam", root / "out", 60)
    assert [state["done"] for state in gate.written] == [3, 6]
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(Tracker, "log_metrics", lambda tracker, metrics, step=0: step or full())
        train("classifier, adam", root / "out", 60)
    assert [state["done"] for state in gate.written] == [3, 6, 3, 6, 9] and len(states(root)) == 2
    delete_outputs(root)
    assert go_on(root, minutes=60) == []


@pytest.mark.parametrize(
    "owner, name, call, goes_on_with",
    [
        (torch.optim.Adam, "step", 5, [6, 7, 8, 9]),
        (classification, "accuracy", 1, [4, 5, 6, 7, 8, 9]),
        (Tracker, "log_epoch", 2, [7, 8, 9]),
        (Tracker, "log_epoch", 3, []),
    ],
    ids=["in a step", "in the validation", "at an epoch's end", "at the last epoch's end"],
)
def test_signal_writes_the_state_after_the_work_in_hand_and_raises_its_status(
    owner, name, call, goes_on_with, root, monkeypatch
):
    whole()
    original, calls = getattr(owner, name), []

    def signalling(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            supervision._answer(15, None)
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, signalling)
        assert signalled(root, monkeypatch) == 143
    assert go_on(root, minutes=60) == goes_on_with


# -- killed while a state is written


# Half of the third state's bytes are there; the third state is there, the first one not gone yet.
MOMENTS = {"in_save": (torch, "save"), "after_rename": (os, "replace")}
CHILD = "import sys; sys.path[:0] = sys.argv[1:4]; import test_checkpoint as t; t.{}(*sys.argv[4:])"


def train_until(root, moment, step_five):
    """In a process of its own: the writer comes to ``moment`` and stands still; two steps later ``step_five``."""
    torch.set_num_threads(1)
    module._loaded_code = dict  # other modules are loaded here than where the training goes on
    (owner, name), calls, at_moment = MOMENTS[moment], [], threading.Event()
    original = getattr(owner, name)

    def stand(first, second):
        original(first, second)
        if threading.current_thread() is threading.main_thread():
            return
        calls.append(name)
        if len(calls) == 3:
            if name == "save":
                os.truncate(second, second.stat().st_size // 2)
            at_moment.set()
            threading.Event().wait()

    def stop(step):
        assert step < 4 or at_moment.wait(LONG)
        if step == 5:
            step_five()

    setattr(owner, name, stand)
    train("byol, adam", Path(root) / "out", stop=stop, waited=2)


def be_killed(root, moment):
    def step_five():
        Path(root, "ready").touch()
        threading.Event().wait()

    train_until(root, moment, step_five)


def be_signalled(root):
    """A first signal is there, and waits for a write that does not end."""
    supervision.TWICE = 0.0
    supervision.answer_signals("")
    wait = Checkpoint.wait

    def noted(checkpoint):
        if supervision.stop_requested():
            Path(root, "ready").touch()
        wait(checkpoint)

    Checkpoint.wait = noted
    train_until(root, "in_save", lambda: os.kill(os.getpid(), signal.SIGTERM))


@contextlib.contextmanager
def child(function, root, *arguments):
    """A process with ``function`` of this file, as soon as it says that it is ready."""
    code, here = CHILD.format(function.__name__), Path(__file__).parent
    process = subprocess.Popen([sys.executable, "-c", code, ROOT, here, here.parents[1], root, *arguments])
    try:
        deadline = time.monotonic() + 2 * LONG
        while not (root / "ready").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("moment, goes_on_at", [("in_save", 3), ("after_rename", 4)])
def test_killed_during_a_write_and_gone_on_with_it_ends_bit_equal(moment, goes_on_at, root, monkeypatch, capsys):
    monkeypatch.setattr(module, "_loaded_code", dict)
    with child(be_killed, root, moment) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (moment != "after_rename") == any(root.glob(".checkpoints/*/state.tmp"))
    delete_outputs(root)
    assert go_on(root, "byol, adam")[0] == goes_on_at
    assert capsys.readouterr().err == ""
    assert not (root / ".checkpoints").exists()


def test_second_signal_during_a_write_ends_the_process_at_once(root):
    with child(be_signalled, root) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 143
    assert [path.name[:9] for path in states(root)] == ["000000001", "000000002"]


# -- damage


def interrupted(root):
    """States, of which the newest is that of step 5."""
    with pytest.raises(Killed):
        train("classifier, adam", root / "out", stop=killer(6))
    return states(root)


def change(path):
    path.write_bytes(path.read_bytes()[:3000] + b"\x00\x01" + path.read_bytes()[3002:])


def replace_snapshot(path):
    kept = path.parent / "epoch_1.safetensors"
    kept.unlink()  # a link to the output
    kept.write_bytes(b"x")


@pytest.mark.parametrize(
    "damage, number, goes_on_at",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), 1, 5),
        (change, 1, 5),
        (change, 2, 1),
        (replace_snapshot, 2, 1),
    ],
    ids=["torn", "changed", "all changed", "snapshot changed"],
)
def test_damaged_states_are_told_and_the_one_before_them_used(damage, number, goes_on_at, root, capsys):
    for path in interrupted(root)[-number:]:
        damage(path)
    delete_outputs(root)
    assert go_on(root)[0] == goes_on_at
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == number and all("is not whole; going on from the one before" in line for line in lines)


def test_state_that_would_run_code_is_not_used(root):
    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {root / 'ran'}",)

    evil = pickle.dumps(Runs())
    interrupted(root)[-1].with_name(f"000000009.{hashlib.sha256(evil).hexdigest()}.pt").write_bytes(evil)
    assert go_on(root)[0] == 6
    assert not (root / "ran").exists()


# -- what a state belongs to


def test_changed_parameter_starts_afresh_and_is_named(root, capsys):
    interrupted(root)
    steps = []
    train("classifier, adam", root / "out", parameters={"lr": 0.5}, stop=steps.append)
    assert steps[0] == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("x@A: starts afresh") and told.endswith(": lr was 0.01 and is 0.5")
    assert len(states(root)) == 2  # those of the other parameters


def test_key_follows_from_parameters_data_and_code(root, monkeypatch):
    data = root / "images.npy"

    def key(content=b"1", **parameters):
        data.write_bytes(content)
        with checkpointed("x@A", parameters, [data], 1.0):
            return next((root / ".checkpoints").iterdir()).name

    first = key()
    assert key() == first and first not in (key(lr=1.0), key(b"2"))
    monkeypatch.setattr(module, "_loaded_code", lambda: {"hw1/engine/loop.py": "another"})
    assert key() != first


def test_code_of_the_key_is_what_a_stage_loads_but_for_what_is_around_a_result():
    code = "import hw1.data.classes, hw1.run.states.checkpoint as c; print(*c._loaded_code())"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "hw1/data/classes.py\n"


# -- disks


@pytest.mark.parametrize("told", ["no state could be written ([Errno 28] No space left on", "no state can be kept in "])
def test_disk_that_takes_no_state_is_told_once_and_the_training_ends_the_same(told, root, monkeypatch, capsys):
    whole()
    if "kept" in told:
        (root / ".checkpoints").write_text("a file")
    monkeypatch.setattr(module.os, "fsync", full)
    go_on(root)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"x@A: {told}")


def test_disk_that_has_space_again_takes_the_next_state(folder, monkeypatch, capsys):
    checkpoint = Checkpoint("x@A", folder, 1e-9)
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        for number in (1, 2):
            checkpoint.save({"done": number}, wait=True)
            assert not list(folder.iterdir())
    checkpoint.save({"done": 3}, wait=True)
    assert Checkpoint("x", folder).load()["done"] == 3
    assert len(capsys.readouterr().err.splitlines()) == 1
