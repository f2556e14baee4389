"""The training loop: it knows no model; a recipe gives it the loss of a batch and the validation."""

import contextlib
import math
from collections.abc import Iterable, Sequence

import torch

from hw1.engine.course import Course
from hw1.engine.recipe import Recipe, Row, Run
from hw1.engine.schedules import build_optimiser, learning_rate
from hw1.engine.step import Step
from hw1.images.shares import sharing
from hw1.run.errors import InputError
from hw1.run.files import whole_file
from hw1.run.processes.gpus import is_out_of_memory
from hw1.run.processes.ranks import most, of_first, world
from hw1.run.processes.supervision import deferred, stop, stop_requested, undeferred
from hw1.run.progress import Progress


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
        self.course = course = Course(network, optimiser, run.generator, batches.steps)
        if state := of_first(run.checkpoint.load()):
            course.restore(state)
            run.tracker.log_resumption(course.rows)
        done = len(course.rows) * len(batches) + min(course.step * training.batch_size, len(batches))
        stage = run.tracker.stage
        self._progress = Progress(stage, training.epochs, len(batches), done=done, seconds=course.seconds)
        if state:
            self._progress.resumed(len(course.rows), course.step)
        self._step = Step(recipe, optimiser, run.machine)

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
            rate = learning_rate(recipe.training, recipe.lr, course.done, steps)
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
            row |= recipe.after_epoch(row, course.rows)
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
