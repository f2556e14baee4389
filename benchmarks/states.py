"""What a state costs the training: one that it waits for, and one that a thread writes beside it."""

import dataclasses
import math
import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.byol import pretraining_of
from benchmarks.machine import machine, scale
from benchmarks.tables import Table
from benchmarks.timing import Contestant, Speed, race
from hw1.run.parameters.params import load
from hw1.run.states import checkpoint
from hw1.run.states.checkpoint import NO_CHECKPOINT, Checkpoint, State
from hw1.run.tracking.tracking import Tracker

EPOCHS = 2  # a round; all but the last end with a state
CASES = {  # backbone; the preset of its BYOL, pixels, images of a batch, batches of an epoch, which outlasts a write
    "resnet18": ("quick", 32, 64, 4 * scale().batches),
    "resnet50": ("paper", 128, scale().byol_batch, scale().batches),
}
WAYS = ("none", "waited for", "beside the training")


class EveryEpoch(Checkpoint):
    """A state at the end of each epoch, which is waited for at once or only before the next one."""

    def __init__(self, folder: Path, wait: bool):
        super().__init__("benchmark", folder, minutes=60)
        self._wait_for_each = wait

    def load(self) -> None:
        return None

    def save(self, state: State, wait: bool = False) -> None:
        self.wait()
        super().save(state, wait or self._wait_for_each)


def contestant(backbone: str, way: str, folder: Path) -> Contestant:
    """A BYOL training with its states, all of them on disk in the end; counts trainings."""
    checkpoint.SHARE = math.inf  # none is passed over for the time it takes
    preset, size, batch, batches = CASES[backbone]
    place = machine()
    training = dataclasses.replace(load(f"presets/{preset}.yaml").pretrain.byol, epochs=EPOCHS, batch_size=batch)
    images = np.random.default_rng(0).integers(0, 256, (batches * batch, size, size, 3), np.uint8)
    states = NO_CHECKPOINT if way == "none" else EveryEpoch(folder, wait=way == "waited for")
    train = pretraining_of(backbone, training, images, place, Tracker("benchmark"), states)

    def run() -> float:
        train()
        states.wait()
        return 1.0

    return run


def costs(speed: Speed, without: Speed) -> list[float]:
    """Seconds for a state in each round, against the same round without any."""
    rounds = zip(speed.rounds, without.rounds, strict=True)
    return [(1 / ours - 1 / bare) / (EPOCHS - 1) for ours, bare in rounds]


def states(rounds: int) -> list[Table]:
    table = Table(
        "Cost of a state to the training, BYOL",
        ("", "MB of a state", "states", "seconds an epoch", "seconds for a state", "lowest-highest"),
        note=f"{rounds} alternating trainings of {EPOCHS} epochs, a state after each but the last, on a disk; medians. "
        "Seconds for a state are against the training without any in the same round. Waited for: the same copy "
        "and the same write, until whose end the training stands still.",
    )
    for backbone, (_, size, batch, batches) in CASES.items():
        with tempfile.TemporaryDirectory(prefix=".states-", dir=".") as name:  # on a disk, which /tmp may not be
            folders = {way: Path(name, str(number)) for number, way in enumerate(WAYS)}
            for folder in folders.values():
                folder.mkdir()
            speeds = race({way: partial(contestant, backbone, way, folders[way]) for way in WAYS}, rounds)
            bytes_of_a_state = max(path.stat().st_size for path in Path(name).rglob("*.pt"))
        for way, speed in speeds.items():
            label = f"{backbone} at {size} px, {batches} batches of {batch} an epoch"
            row = [label, f"{bytes_of_a_state / 1e6:.0f}", way, f"{1 / speed.median / EPOCHS:.2f}"]
            found = costs(speed, speeds["none"])
            spread = f"{min(found):.2f}-{max(found):.2f}"
            table.add(*row, *(("", "") if way == "none" else (f"{statistics.median(found):.2f}", spread)))
    return [table]
