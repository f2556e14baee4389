"""The training loop: it knows no model; a recipe gives it the loss of a batch and the validation."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from hw1.engine.recipe import Recipe, Row, Run
from hw1.engine.step import Step, build_optimiser, learning_rate
from hw1.images.batches import Batches
from hw1.images.shares import all_reduce, sharing
from hw1.run.errors import InputError
from hw1.run.files import whole_file
from hw1.run.processes.gpus import is_out_of_memory
from hw1.run.processes.ranks import most, of_first, rank, world
from hw1.run.processes.supervision import deferred, stop, stop_requested, undeferred
from hw1.run.progress import Progress


class TrainingState:
    """The progress of a training: all that a later process needs to go on from there, bit for bit.

    ``sums`` are those of the batches' means called ``names``, of a rank's parts of them, over the epoch under way;
    they stay on the device until it ends.
    """

    PLAIN = ("rows", "done", "order", "names", "extra", "seconds")

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator):
        self._network, self._optimiser, self._generator = network, optimiser, generator
        self.rows: list[Row] = []  # of the epochs done
        self.done = 0  # steps, of all epochs
        self.order: Tensor | None = None  # of the images in the epoch under way, (N,) int64
        self.names: tuple[str, ...] = ()
        self.sums: Tensor | None = None  # (names,) float32
        self.extra: Row = {}  # of the last step
        self.seconds = 0.0

    def begin_epoch(self, batches: Batches) -> None:
        """Draw the order of the epoch, unless it is one that goes on."""
        if self.order is None:
            self.order = batches.shuffled(self._generator)

    def end_epoch(self, row: Row) -> None:
        self.rows.append(row)
        self.order, self.sums = None, None

    def add(self, means: Mapping[str, Tensor], images: int) -> None:
        """Count the means of a batch, float32 scalars of the same names each time."""
        batch = torch.stack(list(means.values()))
        if self.sums is None:
            self.names, self.sums = tuple(means), torch.zeros_like(batch)
        self.sums.add_(batch, alpha=images)

    def total(self) -> Tensor | None:
        """The sums over all ranks, on each of them."""
        return None if self.sums is None else all_reduce(self.sums.clone())

    def means(self, total: Tensor | None, images: int) -> Row:
        if total is None:
            return {}
        return {name: value / images for name, value in zip(self.names, total.tolist(), strict=True)}

    def to_dict(self, total: Tensor | None) -> dict[str, Any]:
        """The state with ``total``, the sums of all ranks: it belongs to no number of them."""
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generators": {name: get() for name, (get, _) in self._generators().items()},
            "sums": total,
            **{name: getattr(self, name) for name in TrainingState.PLAIN},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        for name, (_, put) in self._generators().items():
            if name in state["generators"]:  # not the GPU's, if the training was on none
                put(state["generators"][name])
        for name in TrainingState.PLAIN:
            setattr(self, name, state[name])
        if state["sums"] is not None:
            self.sums = state["sums"].to(next(self._network.parameters()).device) * (rank() == 0)

    def _generators(self) -> dict[str, tuple[Callable[[], Tensor], Callable[[Tensor], None]]]:
        """Getter and setter of the state of each generator a step draws from; the GPU's is this process's own."""
        generators = {
            "ours": (self._generator.get_state, self._generator.set_state),
            "torch": (torch.get_rng_state, torch.set_rng_state),
        }
        if next(self._network.parameters()).is_cuda:
            generators["cuda"] = torch.cuda.get_rng_state, torch.cuda.set_rng_state
        return generators


def fit(recipe: Recipe, run: Run) -> list[Row]:
    """Train for ``training.epochs`` and return one row per epoch: epoch, lr, training means, validation.

    Goes on from the state in ``run.checkpoint``, if there is one, to the same weights and rows. Offers it one after
    each epoch and every ``checkpoint.minutes`` within one; where a signal asks the process to end, it waits until one
    is written. Ranks share each batch (:mod:`hw1.images.shares`) and end with the same weights and rows.

    Raises:
        InputError: the loss stopped being a number, or the batch does not fit in memory; it names the keys of
            ``recipe.section`` to change.
        SystemExit: a signal came; the state is written.
    """
    fitting = _Fitting(recipe, run)
    with deferred():
        while len(fitting.state.rows) < recipe.training.epochs:
            fitting.train_an_epoch()
            fitting.end_the_epoch()
    fitting.record_speed()
    return fitting.state.rows


class _Fitting:
    """One training under way."""

    def __init__(self, recipe: Recipe, run: Run):
        self._recipe, self._run = recipe, run
        network, batches, training = recipe.network, recipe.batches, recipe.training
        optimiser = build_optimiser(training, network.parameters())
        self.state = state = TrainingState(network, optimiser, run.generator)
        if saved := of_first(run.checkpoint.load()):
            state.restore(saved)
            run.tracker.log_resumption(state.rows)
        images = len(state.rows) * len(batches) + min(self._step_of_epoch * training.batch_size, len(batches))
        stage = run.tracker.stage
        self._progress = Progress(stage, training.epochs, len(batches), done=images, seconds=state.seconds)
        if saved:
            self._progress.resumed(len(state.rows), self._step_of_epoch)
        self._step = Step(recipe, optimiser, run.machine)

    @property
    def _step_of_epoch(self) -> int:
        """Steps done in the epoch under way."""
        return self.state.done - len(self.state.rows) * self._recipe.batches.steps

    def train_an_epoch(self) -> None:
        """Take the steps that remain of it, and offer a state wherever one is due."""
        recipe, state, batches = self._recipe, self.state, self._recipe.batches
        steps, skip = recipe.training.epochs * batches.steps, self._step_of_epoch
        recipe.network.train()
        state.begin_epoch(batches)
        for size, (images, targets) in zip(batches.sizes[skip:], batches.take(state.order, skip), strict=True):
            rate = learning_rate(recipe.training, state.done, steps)
            with sharing(size):
                state.add(self._step(images, targets, rate), size)
            state.done += 1
            state.extra = {"lr": rate, **recipe.after_step(state.done, steps)}
            self._progress.count(size)
            due, signal = most(self._run.checkpoint.due(), stop_requested())
            if due or signal:
                self._save(wait=bool(signal))
                if signal:
                    stop(signal)

    def end_the_epoch(self) -> None:
        """Validate, record the row, and offer a state."""
        state, recipe = self.state, self._recipe
        means = state.means(state.total(), len(recipe.batches))
        row = {"epoch": len(state.rows) + 1, **state.extra, **means}
        recipe.network.eval()
        try:
            with undeferred() if world() == 1 else contextlib.nullcontext():  # else ranks would stop apart
                row |= self._validated()
            _check_finite(row, recipe.section)
            row |= recipe.after_epoch(row, state.rows)
        except (SystemExit, OSError):  # a signal, a full disk
            if world() == 1:  # else this rank may be the only one that comes here, and saving takes all
                self._save(wait=True)
            raise
        state.end_epoch(row)
        self._progress.epoch(row)
        self._run.tracker.log_epoch(row)
        (signal,) = most(stop_requested())
        self._save(wait=bool(signal))
        if signal:
            stop(signal)

    def record_speed(self) -> None:
        seconds, images = self._progress.seconds, self._recipe.training.epochs * len(self._recipe.batches)
        self._run.tracker.log_metrics({"seconds": seconds, "images_per_second": images / seconds})

    def _save(self, wait: bool) -> None:
        """Offer the state as it is now, unless the training has diverged: it would push out the last good one."""
        recipe, state, checkpoint = self._recipe, self.state, self._run.checkpoint
        state.seconds = self._progress.seconds
        total = state.total()
        norm = get_total_norm(recipe.network.parameters()).item()
        epoch = math.ceil(state.done / recipe.batches.steps)
        row = {"epoch": epoch, "norm of the weights": norm, **state.means(total, len(recipe.batches))}
        _check_finite(row, recipe.section)
        if len(state.rows) < recipe.training.epochs:
            checkpoint.save(state.to_dict(total), wait)
        else:
            checkpoint.finish(state.to_dict(total))

    def _validated(self) -> Row:
        try:
            return self._recipe.validate()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        fault = f"a batch of the validation images does not fit in the memory of {self._run.machine.name}"
        raise InputError(f"{self._recipe.section}.batch_size: {fault}; take a smaller batch, or a smaller image size")


def _check_finite(row: Row, section: str) -> None:
    for key, value in row.items():
        if not math.isfinite(value):
            raise InputError(f"{section}: {key} is {value} in epoch {row['epoch']}: training diverged; lower its lr")


def write_history(rows: Iterable[Row], columns: Sequence[str], run: Run) -> None:
    """Write the draft ``history``: CSV, a line per epoch; numbers to six digits, whole ones as they are."""
    lines = [",".join(columns)]
    lines += [",".join(f"{row[column]:.6g}" for column in columns) for row in rows]
    with whole_file(run.drafts["history"]) as draft:
        draft.write_text("\n".join(lines) + "\n")
    run.tracker.log_history(run.drafts["history"])
