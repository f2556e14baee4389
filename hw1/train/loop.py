"""The training loop: it knows no model; the loss of a batch and the validation are given to it."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hw1.data.batches import Batches
from hw1.errors import InputError
from hw1.files import whole_file
from hw1.params import Training
from hw1.runtime import Machine
from hw1.supervision import deferred, stop, stop_requested, undeferred
from hw1.train.checkpoint import NO_CHECKPOINT, Checkpoint
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
    checkpoint: Checkpoint = NO_CHECKPOINT,
    validate: Callable[[], Row] = dict,
    after_step: Callable[[int, int], Row] = lambda step, steps: {},
    after_epoch: Callable[[Row], Row] = lambda row: {},
    gradient_norm: bool = False,
) -> list[Row]:
    """Train for ``training.epochs`` and return one row per epoch: epoch, lr, training means, validation.

    ``after_step`` gets the number of the step done and of all steps, its last row of the epoch is
    recorded; ``after_epoch`` gets the row of the epoch done and returns what belongs into it too.
    ``gradient_norm`` records the norm of all gradients together, the mean over steps weighed by images.

    Goes on from the state in ``checkpoint``, if there is one, to the same weights and rows; writes one after
    each epoch, every ``checkpoint.minutes`` within one, and when a signal asks the process to end.

    Raises:
        InputError: the loss stopped being a number, or the batch does not fit in memory; it names the
            keys of ``section`` to change.
        SystemExit: a signal came; the state is written.
    """
    optimiser = build_optimiser(training, network.parameters())
    step = _Step(loss_of, optimiser, section, machine, gradient_norm)
    course = _Course(network, optimiser, generator, batches.steps)
    if state := checkpoint.load():
        course.restore(state)
        tracker.log_resumption(course.rows)
    done = len(course.rows) * len(batches) + min(course.step * training.batch_size, len(batches))
    progress = Progress(tracker.stage, training.epochs, len(batches), done=done, seconds=course.seconds)
    if state:
        progress.resumed(len(course.rows), course.step)
    compile_network(network.train(), machine, generator, lambda: step.gradients(*next(batches.in_order())))
    steps = training.epochs * batches.steps

    def save() -> None:
        # A state of a training that has diverged would push out the last good one.
        size = torch.stack(torch._foreach_norm(list(network.parameters()))).float().sum().item()
        _check_finite({"epoch": epoch, "norm of the weights": size, **course.sums.means(len(batches))}, section)
        course.seconds = progress.seconds
        checkpoint.save(course.state())

    with deferred():
        for epoch in range(len(course.rows) + 1, training.epochs + 1):
            network.train()
            course.begin_epoch(batches)
            for images, targets in batches.take(course.order, skip=course.step):
                rate = learning_rate(training.schedule, lr, course.done, steps)
                course.sums.add(step(images, targets, rate), len(images))
                course.done += 1
                course.extra = {"lr": rate, **after_step(course.done, steps)}
                progress.count(len(images))
                if checkpoint.due() or stop_requested():
                    save()
                    if stop_requested():
                        stop()
            row = {"epoch": epoch, **course.extra, **course.sums.means(len(batches))}
            network.eval()
            try:
                with undeferred():
                    row |= validate()
                _check_finite(row, section)
                row |= after_epoch(row)
            except (SystemExit, OSError):  # a signal, a full disk
                save()
                raise
            course.end_epoch(row)
            progress.epoch(row)
            tracker.log_epoch(row)
            save()
    seconds = progress.seconds
    tracker.log_metrics({"seconds": seconds, "images_per_second": training.epochs * len(batches) / seconds})
    return course.rows


class _Course:
    """How far a training has come: all that a later process needs to go on from there, bit for bit."""

    PLAIN = ("rows", "done", "order", "extra", "seconds")

    def __init__(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator, steps_per_epoch: int
    ):
        self._network, self._optimiser, self._generator = network, optimiser, generator
        self._steps_per_epoch = steps_per_epoch
        self.rows: list[Row] = []  # of the epochs done
        self.done = 0  # steps, of all epochs
        self.order: Tensor | None = None  # of the images in the epoch under way, (N,) int64
        self.sums = _Sums()  # over that epoch
        self.extra: Row = {}  # of the last step
        self.seconds = 0.0

    @property
    def step(self) -> int:
        """Steps done in the epoch under way."""
        return self.done - len(self.rows) * self._steps_per_epoch

    def begin_epoch(self, batches: Batches) -> None:
        """Draw the order of the epoch, unless it is one that goes on."""
        if self.order is None:
            self.order = batches.shuffled(self._generator)

    def end_epoch(self, row: Row) -> None:
        self.rows.append(row)
        self.order, self.sums = None, _Sums()

    def state(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generators": {"ours": self._generator.get_state(), "torch": torch.get_rng_state(), "cuda": cuda},
            "sums": self.sums.sums,
            **{name: getattr(self, name) for name in _Course.PLAIN},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        generators = state["generators"]
        self._generator.set_state(generators["ours"])
        torch.set_rng_state(generators["torch"])
        if len(generators["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(generators["cuda"])
        device = next(self._network.parameters()).device
        self.sums = _Sums({key: total.to(device) for key, total in state["sums"].items()})
        for name in _Course.PLAIN:
            setattr(self, name, state[name])


class _Step:
    """One optimiser step on a batch; nothing in it waits for the device."""

    def __init__(self, loss_of: LossOf, optimiser: torch.optim.Optimizer, section: str, machine: Machine, norm: bool):
        self._loss_of, self._optimiser, self._section, self._machine = loss_of, optimiser, section, machine
        self._norm = norm

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
        if self._norm:
            means = {**means, "gradient_norm": self._gradient_norm()}
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return means

    def _gradient_norm(self) -> Tensor:
        parameters = (parameter for group in self._optimiser.param_groups for parameter in group["params"])
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return torch.stack(torch._foreach_norm(gradients)).float().norm()

    def _too_large(self, images: Tensor, targets: Tensor) -> InputError:
        self._optimiser.zero_grad(set_to_none=True)
        fits = largest_batch(lambda size: self._update(images[:size], targets[:size]), len(images))
        advice = f"{fits} do, found by trying" if fits else "not even two do: take a smaller network or image size"
        fault = f"{len(images)} images do not fit in the memory of {self._machine.name}"
        return InputError(f"{self._section}.batch_size: {fault}; {advice}")


class _Sums:
    """Sums of a batch's means over an epoch, kept on the device and read once."""

    def __init__(self, sums: dict[str, Tensor] | None = None):
        self.sums = sums or {}

    def add(self, means: Mapping[str, Tensor], images: int) -> None:
        for key, mean in means.items():
            self.sums[key] = self.sums.get(key, 0) + mean * images

    def means(self, images: int) -> Row:
        if not self.sums:
            return {}
        totals = torch.stack([total.float() for total in self.sums.values()]).tolist()
        return {key: total / images for key, total in zip(self.sums, totals, strict=True)}


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
