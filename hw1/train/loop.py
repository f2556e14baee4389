"""The training loop: it knows no model; the loss of a batch and the validation are given to it."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hw1.data.batches import Batches
from hw1.errors import InputError
from hw1.files import whole_file
from hw1.params import Training
from hw1.runtime import Machine
from hw1.train.progress import Progress
from hw1.train.schedules import build_optimiser, learning_rate
from hw1.train.tracking import Tracker

Row = dict[str, float]
# Images and targets of a batch -> the loss to minimise, and means over the batch to record.
LossOf = Callable[[Tensor, Tensor], tuple[Tensor, Mapping[str, Tensor]]]


def fit(
    network: nn.Module,
    batches: Batches,
    loss_of: LossOf,
    *,
    section: str,
    training: Training,
    lr: float,
    machine: Machine,
    generator: torch.Generator,
    tracker: Tracker,
    validate: Callable[[], Row] = dict,
    after_step: Callable[[int, int], Row] = lambda step, steps: {},
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> list[Row]:
    """Train for ``training.epochs`` and return one row per epoch: epoch, lr, training means, validation.

    ``after_step`` gets the number of the step done and of all steps, its last row of the epoch is
    recorded; ``after_epoch`` gets the number of the epoch done, from 1.

    Raises:
        InputError: the loss stopped being a number, or the batch does not fit in memory; it names the
            keys of ``section`` to change.
    """
    optimiser = build_optimiser(training, network.parameters())
    steps = training.epochs * batches.steps
    progress = Progress(tracker.stage, training.epochs, len(batches))
    rows: list[Row] = []
    step = 0
    for epoch in range(1, training.epochs + 1):
        network.train()
        totals: dict[str, Tensor] = {}
        for images, targets in batches.shuffled(generator):
            rate = learning_rate(training.schedule, lr, step, steps)
            try:
                means = _step(loss_of, images, targets, optimiser, rate, machine)
            except torch.OutOfMemoryError:
                raise InputError(
                    f"{section}.batch_size: {training.batch_size} images do not fit in the memory of {machine.name}; "
                    "give a smaller one"
                ) from None
            step += 1
            extra = after_step(step, steps)
            for key, mean in means.items():  # stays on the device: no synchronisation inside the epoch
                totals[key] = totals.get(key, 0) + mean * len(images)
            progress.count(len(images))
        row = {
            "epoch": epoch,
            "lr": rate,
            **extra,
            **{key: float(total) / len(batches) for key, total in totals.items()},
        }
        network.eval()
        row |= validate()
        _check_finite(row, section)
        rows.append(row)
        progress.epoch(row)
        tracker.log_epoch(row)
        after_epoch(epoch)
    tracker.log_metrics(
        {"seconds": progress.seconds, "images_per_second": training.epochs * len(batches) / progress.seconds}
    )
    return rows


def _step(
    loss_of: LossOf, images: Tensor, targets: Tensor, optimiser: torch.optim.Optimizer, rate: float, machine: Machine
) -> Mapping[str, Tensor]:
    for group in optimiser.param_groups:
        group["lr"] = rate
    with machine.autocast():
        loss, means = loss_of(images, targets)
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return means


def _check_finite(row: Row, section: str) -> None:
    for key, value in row.items():
        if not math.isfinite(value):
            raise InputError(f"{section}: {key} is {value} in epoch {row['epoch']}: training diverged; lower its lr")


def write_history(rows: Iterable[Row], columns: Iterable[str], path: Path) -> None:
    """CSV with a header and a line per epoch; numbers to six digits, whole numbers as they are."""
    columns = list(columns)
    lines = [",".join(columns)]
    lines += [",".join(f"{row[column]:.6g}" for column in columns) for row in rows]
    with whole_file(path) as draft:
        draft.write_text("\n".join(lines) + "\n")
