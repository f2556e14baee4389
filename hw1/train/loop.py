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
from hw1.train.compilation import compile_network
from hw1.train.memory import is_out_of_memory, largest_batch
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
    step = _Step(loss_of, build_optimiser(training, network.parameters()), section, machine)
    compile_network(network.train(), machine, generator, lambda: step.gradients(*next(batches.in_order())))
    steps = training.epochs * batches.steps
    progress = Progress(tracker.stage, training.epochs, len(batches))
    rows: list[Row] = []
    done = 0
    for epoch in range(1, training.epochs + 1):
        network.train()
        sums = _Sums()
        for images, targets in batches.shuffled(generator):
            rate = learning_rate(training.schedule, lr, done, steps)
            sums.add(step(images, targets, rate), len(images))
            done += 1
            extra = after_step(done, steps)
            progress.count(len(images))
        row = {"epoch": epoch, "lr": rate, **extra, **sums.means(len(batches))}
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


class _Step:
    """One optimiser step on a batch; nothing in it waits for the device."""

    def __init__(self, loss_of: LossOf, optimiser: torch.optim.Optimizer, section: str, machine: Machine):
        self._loss_of, self._optimiser, self._section, self._machine = loss_of, optimiser, section, machine

    def __call__(self, images: Tensor, targets: Tensor, rate: float) -> Mapping[str, Tensor]:
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        try:
            return self._update(images, targets)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: the error held on to the tensors of the step that failed.
        raise self._too_large(images, targets)

    def gradients(self, images: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """Forward and backward pass; the means that the loss reports."""
        if self._machine.compile == "cuda_graphs":  # its first call imports for seconds
            torch.compiler.cudagraph_mark_step_begin()
        with self._machine.autocast():
            loss, means = self._loss_of(images, targets)
        loss.backward()
        return means

    def _update(self, images: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        means = self.gradients(images, targets)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return means

    def _too_large(self, images: Tensor, targets: Tensor) -> InputError:
        self._optimiser.zero_grad(set_to_none=True)
        fits = largest_batch(lambda size: self._update(images[:size], targets[:size]), len(images))
        advice = f"{fits} do, found by trying" if fits else "not even two do: take a smaller network or image size"
        fault = f"{len(images)} images do not fit in the memory of {self._machine.name}"
        return InputError(f"{self._section}.batch_size: {fault}; {advice}")


class _Sums:
    """Sums of a batch's means over an epoch, kept on the device and read once."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, means: Mapping[str, Tensor], images: int) -> None:
        for key, mean in means.items():
            self._sums[key] = self._sums.get(key, 0) + mean * images

    def means(self, images: int) -> Row:
        totals = torch.stack([total.float() for total in self._sums.values()]).tolist()
        return {key: total / images for key, total in zip(self._sums, totals, strict=True)}


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
