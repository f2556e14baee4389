"""The two halves of a training: what is trained (:class:`Recipe`), and what surrounds it (:class:`Run`)."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hw1.data.arrays import Manifest
from hw1.engine.card import STAGE, Card, save_model
from hw1.engine.weights import BEST, FINAL, read_metadata, snapshot_file
from hw1.images.batches import Batches
from hw1.images.machine import Machine, start
from hw1.run.files import whole_file, whole_folder
from hw1.run.parameters.params import Params, Training, flat
from hw1.run.processes.ranks import by_first
from hw1.run.states.checkpoint import NO_CHECKPOINT, Checkpoint, checkpointed
from hw1.run.tracking.tracking import Tracker

Row = dict[str, float]
# Images and targets -> the loss to minimise, and means to record. Of a batch that ranks share, each rank gives its
# part of each; the parts add up to the whole batch's.
LossOf = Callable[[Tensor, Tensor], tuple[Tensor, Mapping[str, Tensor]]]


@dataclass(frozen=True)
class Recipe:
    """The training itself, all that two trainings differ in.

    Args:
        network: trained in place.
        batches: the training images.
        loss_of: of a batch; it draws its augmentation.
        training: length, optimiser, learning rate and schedule; all the loop reads of params.yaml.
        section: of params.yaml, for errors that name the key to change.
        columns: of the history.
        validate: what an epoch's row gets after its steps, of the network in eval mode.
        after_step: gets the number of the step done and of all steps; what it returns last goes into the epoch's row.
        after_epoch: gets the row of the epoch done and those before it, and returns what belongs into it too.
        score: the column, of what ``validate`` gives, by which an epoch is the best.
        gradient_norm: record the norm of all gradients together, the mean over steps weighed by images.
    """

    network: nn.Module
    batches: Batches
    loss_of: LossOf
    training: Training
    section: str
    columns: Sequence[str] = ()
    validate: Callable[[], Row] = dict
    after_step: Callable[[int, int], Row] = lambda step, steps: {}
    after_epoch: Callable[[Row, Sequence[Row]], Row] = lambda row, before: {}
    score: str = ""
    gradient_norm: bool = False

    def keeping(self, epochs: Sequence[int], run: "Run") -> "Recipe":
        """The same, leaving the network's weights after each of ``epochs``, and those of the epoch with the largest
        score, in the run's folder of weights.
        """
        card, folder = run.card(self), run.drafts["weights"]

        def after_epoch(row: Row, before: Sequence[Row]) -> Row:
            epoch = int(row["epoch"])
            paths = [snapshot_file(folder, epoch, self.training.epochs)] if epoch in epochs else []
            if all(row[self.score] > other[self.score] for other in before):
                paths.append(folder / BEST)
            for path in paths:
                save_model(self.network, path, replace(card, epoch=epoch))
            return self.after_epoch(row, before)

        return replace(self, after_epoch=after_epoch)


@dataclass(frozen=True)
class Run:
    """The surroundings of a training: the machine, the generator of its draws, its record and its states.

    Of a stage also its name, the parameters ``used``, by dotted path, the ``manifest`` of its images, and the
    ``drafts`` of its outputs: weights, history and what else it writes.
    """

    machine: Machine
    generator: torch.Generator
    tracker: Tracker
    checkpoint: Checkpoint = NO_CHECKPOINT
    stage: str = ""
    used: Mapping[str, Any] = field(default_factory=dict)
    manifest: Manifest | None = None
    drafts: Mapping[str, Path] = field(default_factory=dict)

    def card(self, recipe: Recipe) -> Card:
        """The card of the network after the last epoch."""
        return Card.of(self.stage, recipe.training.epochs, self.manifest, self.used)


@contextlib.contextmanager
def begin(
    stage: str, params: Params, used: Sequence[str], reads: Sequence[Path], writes: Mapping[str, Path]
) -> Iterator[Run]:
    """The run of a training stage: its outputs are left whole at the end of the block, or not at all.

    Args:
        stage: as DVC calls it, ``finetune@C``.
        used: paths of the parameters that determine the result.
        reads: files and folders that do; the first is a prepared part.
        writes: outputs by their role; a folder where the name has no ending.
    """
    machine, manifest, values = start(params.runtime, params.seed), Manifest.load(reads[0]), flat(params, *used)
    # What is only done about a result changes none: a state stays good.
    determining = {key: value for key, value in values.items() if not key.endswith(".on_collapse")}
    with contextlib.ExitStack() as stack:
        checkpoint = stack.enter_context(checkpointed(stage, determining, reads, params.checkpoint.minutes))
        drafts = {
            role: stack.enter_context(by_first(whole_file if path.suffix else whole_folder, path))
            for role, path in writes.items()
        }
        for folder in filter(Path.is_dir, drafts.values()):
            checkpoint.include(folder)
        tags = {**machine.tags, "data": manifest.origin}
        tracker = stack.enter_context(Tracker.start(stage, values, tags))
        for part in filter(Path.is_dir, reads):
            data = Manifest.load(part)
            images = {"train": len(data.train), "validation": len(data.validation)}
            tracker.log_dataset(part, data.origin, images, trained_on=part == reads[0])
        generator = torch.Generator().manual_seed(params.seed)
        yield Run(machine, generator, tracker, checkpoint, stage, values, manifest, drafts)
        if STAGE.fullmatch(stage):  # a network that predicts, which a backbone does not
            weights = drafts["weights"] / FINAL
            tracker.log_model(weights, read_metadata(weights))
