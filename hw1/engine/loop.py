"""The training loop: it knows no model; a recipe gives it the loss of a batch and the validation."""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hw1.engine.recipe import LossOf, Recipe, Row, Run
from hw1.engine.schedules import build_optimiser, learning_rate
from hw1.engine.synchronised import synchronise
from hw1.images.batches import Batches
from hw1.images.machine import Machine
from hw1.images.shares import add_up, sharing
from hw1.run.errors import InputError
from hw1.run.files import whole_file
from hw1.run.memory import is_out_of_memory, largest_batch
from hw1.run.progress import Progress
from hw1.run.ranks import most, of_first, rank, world
from hw1.run.supervision import deferred, stop, stop_requested, undeferred


def fit(recipe: Recipe, run: Run) -> list[Row]:
    """Train for ``training.epochs`` and return one row per epoch: epoch, lr, training means, validation.

    Goes on from the state in ``run.checkpoint``, if there is one, to the same weights and rows; offers it one after
    each epoch, every ``checkpoint.minutes`` within one, and waits for one to be written when a signal asks the process
    to end.

    On several ranks (:mod:`hw1.images.shares`) they share each batch; weights and rows are the same on all of them.

    Raises:
        InputError: the loss stopped being a number, or the batch does not fit in memory; it names the
            keys of ``recipe.section`` to change.
        SystemExit: a signal came; the state is written.
    """
    fitting = _Fitting(recipe, run)
    with deferred():
        while len(fitting.course.rows) < recipe.training.epochs:
            fitting.train_an_epoch()
            fitting.end_the_epoch()
    fitting.record_speed()
    return fitting.course.rows


class _Fitting:
    """One training under way."""

    def __init__(self, recipe: Recipe, run: Run):
        self._recipe, self._run = recipe, run
        network, batches, training = recipe.network, recipe.batches, recipe.training
        optimiser = build_optimiser(training, network.parameters())
        self.course = course = _Course(network, optimiser, run.generator, batches.steps)
        if state := of_first(run.checkpoint.load()):
            course.restore(state)
            run.tracker.log_resumption(course.rows)
        done = len(course.rows) * len(batches) + min(course.step * training.batch_size, len(batches))
        stage = run.tracker.stage
        self._progress = Progress(stage, training.epochs, len(batches), done=done, seconds=course.seconds)
        if state:
            self._progress.resumed(len(course.rows), course.step)
        network.train()
        self._step = _Step(recipe, optimiser, run.machine)

    @property
    def _epoch(self) -> int:
        return len(self.course.rows) + 1

    def train_an_epoch(self) -> None:
        """Every step that is left of it, and a state wherever one is due."""
        recipe, course, batches = self._recipe, self.course, self._recipe.batches
        steps = recipe.training.epochs * batches.steps
        recipe.network.train()
        course.begin_epoch(batches)
        sizes = batches.sizes[course.step :]
        for size, (images, targets) in zip(sizes, batches.take(course.order, skip=course.step), strict=True):
            rate = learning_rate(recipe.training.schedule, recipe.lr, course.done, steps)
            with sharing(size):
                course.sums.add(self._step(images, targets, rate), size)
            course.done += 1
            course.extra = {"lr": rate, **recipe.after_step(course.done, steps)}
            self._progress.count(size)
            due, signal = most(self._run.checkpoint.due(), stop_requested())
            if due or signal:
                self._save(self._epoch, wait=bool(signal))
                if signal:
                    stop(signal)

    def end_the_epoch(self) -> None:
        """Validate, record the row, and offer a state."""
        epoch, course, recipe = self._epoch, self.course, self._recipe
        row = {"epoch": epoch, **course.extra, **course.sums.of_all_ranks().means(len(recipe.batches))}
        recipe.network.eval()
        try:
            with undeferred() if world() == 1 else contextlib.nullcontext():  # else ranks would stop apart
                row |= self._validated()
            _check_finite(row, recipe.section)
            row |= recipe.after_epoch(row)
        except (SystemExit, OSError):  # a signal, a full disk
            if world() == 1:  # else this rank may be the only one that comes here, and saving takes all
                self._save(epoch, wait=True)
            raise
        course.end_epoch(row)
        self._progress.epoch(row)
        self._run.tracker.log_epoch(row)
        (signal,) = most(stop_requested())
        self._save(epoch, wait=bool(signal))
        if signal:
            stop(signal)

    def record_speed(self) -> None:
        seconds, images = self._progress.seconds, self._recipe.training.epochs * len(self._recipe.batches)
        self._run.tracker.log_metrics({"seconds": seconds, "images_per_second": images / seconds})

    def _save(self, epoch: int, wait: bool) -> None:
        """Offer the state within or after ``epoch``."""
        recipe, course = self._recipe, self.course
        course.seconds = self._progress.seconds
        sums = course.sums.of_all_ranks()
        # A state of a training that has diverged would push out the last good one.
        size = torch.stack(torch._foreach_norm(list(recipe.network.parameters()))).float().sum().item()
        means = sums.means(len(recipe.batches))
        _check_finite({"epoch": epoch, "norm of the weights": size, **means}, recipe.section)
        if len(course.rows) < recipe.training.epochs:
            self._run.checkpoint.save(course.state(sums), wait)
        else:
            self._run.checkpoint.finish(course.state(sums))

    def _validated(self) -> Row:
        try:
            return self._recipe.validate()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        fault = f"a batch of the validation images does not fit in the memory of {self._run.machine.name}"
        raise InputError(f"{self._recipe.section}.batch_size: {fault}; take a smaller batch, or a smaller image size")


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

    def state(self, sums: "_Sums") -> dict[str, Any]:
        """``sums`` are those of all ranks: a state belongs to no number of them."""
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generators": {name: get() for name, (get, _) in self._generators().items()},
            "sums": sums.sums,
            **{name: getattr(self, name) for name in _Course.PLAIN},
        }

    def _generators(self) -> dict[str, tuple[Callable[[], Tensor], Callable[[Tensor], None]]]:
        """How to get and set the state of each generator a step draws from; the GPU's is this process's own."""
        generators = {
            "ours": (self._generator.get_state, self._generator.set_state),
            "torch": (torch.get_rng_state, torch.set_rng_state),
        }
        if next(self._network.parameters()).is_cuda:
            generators["cuda"] = torch.cuda.get_rng_state, torch.cuda.set_rng_state
        return generators

    def restore(self, state: Mapping[str, Any]) -> None:
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        for name, (_, put) in self._generators().items():
            if name in state["generators"]:  # not the GPU's, if the training was on none
                put(state["generators"][name])
        device = next(self._network.parameters()).device
        self.sums = _Sums({key: total.to(device) * (rank() == 0) for key, total in state["sums"].items()})
        for name in _Course.PLAIN:
            setattr(self, name, state[name])


class _Loss(nn.Module):
    """The loss of a batch as the forward pass of a module that has the network's parameters, for DDP to wrap."""

    def __init__(self, network: nn.Module, loss_of: LossOf):
        super().__init__()
        self.network, self._loss_of = network, loss_of

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        return self._loss_of(images, targets)


class _Step:
    """One optimiser step on a batch; nothing in it waits for the device.

    On several ranks, DistributedDataParallel averages the gradients of their parts of the loss.
    """

    def __init__(self, recipe: Recipe, optimiser: torch.optim.Optimizer, machine: Machine):
        self._loss_of, self._optimiser, self._machine = recipe.loss_of, optimiser, machine
        self._section, self._norm = recipe.section, recipe.gradient_norm
        if world() > 1:
            with warnings.catch_warnings(action="ignore", category=FutureWarning):  # new torch renames an option
                self._loss_of = nn.parallel.DistributedDataParallel(
                    _Loss(synchronise(recipe.network), recipe.loss_of),
                    broadcast_buffers=False,
                    gradient_as_bucket_view=True,
                )

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
        with self._machine.autocast():
            loss, means = self._loss_of(images, targets)
        (loss * world() if world() > 1 else loss).backward()
        return means

    def _update(self, images: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        means = self.gradients(images, targets)
        if self._norm:
            means = {**means, "gradient_norm": self._gradient_norm() / world()}
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return means

    def _gradient_norm(self) -> Tensor:
        parameters = (parameter for group in self._optimiser.param_groups for parameter in group["params"])
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return torch.stack(torch._foreach_norm(gradients)).float().norm()

    def _too_large(self, images: Tensor, targets: Tensor) -> InputError:
        if world() > 1:  # the others are in the middle of a step
            fault = f"a share of {len(images)} images does not fit in the memory of {self._machine.name}"
            return InputError(f"{self._section}.batch_size: {fault}; take a smaller batch or more launch.devices")
        self._optimiser.zero_grad(set_to_none=True)

        def smaller(size: int) -> None:
            size = min(size + 1, len(images))  # an epoch's last batch may have one image more
            with sharing(size):
                for _ in range(2):  # from the second step on there is the optimiser's state as well
                    self._update(images[:size], targets[:size])

        fits = largest_batch(smaller, len(images))
        advice = f"{fits} do, found by trying" if fits else "not even two do: take a smaller network or image size"
        fault = f"{len(images)} images do not fit in the memory of {self._machine.name}"
        return InputError(f"{self._section}.batch_size: {fault}; {advice}")


class _Sums:
    """Sums of the batches' means (a rank's parts of them) over an epoch, kept on the device and read once."""

    def __init__(self, sums: dict[str, Tensor] | None = None):
        self.sums = sums or {}

    def add(self, means: Mapping[str, Tensor], images: int) -> None:
        """All sums in one call; ``means`` are float32 scalars of the same names each time."""
        for key, mean in means.items():
            if key not in self.sums:
                self.sums[key] = torch.zeros_like(mean)
        torch._foreach_add_([self.sums[key] for key in means], list(means.values()), alpha=images)

    def of_all_ranks(self) -> "_Sums":
        """The sums over all ranks, on each of them."""
        return _Sums({key: add_up(total.clone()) for key, total in self.sums.items()})

    def means(self, images: int) -> Row:
        if not self.sums:
            return {}
        totals = torch.stack([total.float() for total in self.sums.values()]).tolist()
        return {key: total / images for key, total in zip(self.sums, totals, strict=True)}


def _check_finite(row: Row, section: str) -> None:
    for key, value in row.items():
        if not math.isfinite(value):
            raise InputError(f"{section}: {key} is {value} in epoch {row['epoch']}: training diverged; lower its lr")


def write_history(rows: Iterable[Row], columns: Sequence[str], run: Run) -> None:
    """The draft ``history``: CSV with a header and a line per epoch; numbers to six digits, whole ones as they are."""
    lines = [",".join(columns)]
    lines += [",".join(f"{row[column]:.6g}" for column in columns) for row in rows]
    with whole_file(run.drafts["history"]) as draft:
        draft.write_text("\n".join(lines) + "\n")
    run.tracker.log_history(run.drafts["history"])
