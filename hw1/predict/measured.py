"""The result of exactly the weights in a file, and the record of their training.

``dvc.lock`` has the hash of whatever each stage read and wrote. A number is taken only where the files that lie in the
project now are those of one chain: these weights among the models that were scored, the predictions that came of it,
the intervals made from these predictions.
"""

from dataclasses import dataclass
from pathlib import Path

from hw1.engine.card import Card
from hw1.engine.weights import KEPT
from hw1.predict.model import PROBLEMS, weights_of
from hw1.run.errors import InputError
from hw1.run.files import dvc_hash
from hw1.run.lockfile import LockedStage, stages_of
from hw1.run.tracking.whereabouts import record_of
from hw1.statistics.evidence import read_table
from hw1.statistics.published import MEASURE

LOCK = Path("dvc.lock")
PREDICTIONS, STATISTICS, HISTORY = Path("plots/predictions"), Path("plots/statistics"), Path("models/history")


@dataclass(frozen=True)
class Measured:
    """A ``measure`` (accuracy or miou) on so many validation ``images``, with the ends of its 95 % interval, all as
    fractions; ``method`` is how the interval was made.
    """

    measure: str
    value: float
    low: float
    high: float
    images: int
    method: str


def measured_of(weights: Path, card: Card) -> Measured | None:
    """The result of these very weights, from the project in the current folder; None where it has none of them."""
    problem = PROBLEMS[card.task]
    scored = (Path("models", card.task), PREDICTIONS / f"{problem}.csv")
    try:
        stages = _stages()
        evaluate = stages[f"evaluate@{problem}"]
        if not _is_the_projects(weights, card, evaluate.declared["params.yaml", "evaluate.keep"]):
            return None
        chain = _is_unchanged(evaluate, *scored) and _is_unchanged(stages["compare"], PREDICTIONS, STATISTICS)
    except (OSError, InputError, KeyError):  # no lock file of this pipeline, or none of a whole run
        return None
    return _interval(problem, card) if chain else None


def training_of(weights: Path, card: Card) -> dict[str, str]:
    """The record of the training of these very weights: time, device, commit; empty where this machine has none."""
    history = HISTORY / card.task / f"{card.model}.csv"
    output = Path("models", card.task, card.model)
    try:
        known = any(_is_the_projects(weights, card, keep) for keep in KEPT)
        known = known and _is_unchanged(_stages()[card.stage], history, output)
    except (OSError, InputError, KeyError):
        return {}
    return (record_of(history) or {}) if known else {}


def _stages() -> dict[str, LockedStage]:
    return stages_of(LOCK.read_bytes(), str(LOCK))


def _is_the_projects(weights: Path, card: Card, keep: str) -> bool:
    """Compare the file's bytes with the model that the project has of its ``last`` or ``best`` epoch."""
    kept = weights_of(card.task, card.model, keep)
    return kept.is_file() and dvc_hash(kept) == dvc_hash(weights)


def _is_unchanged(stage: LockedStage, *paths: Path) -> bool:
    """Tell whether the stage read or wrote the paths as they are now."""
    known = {**stage.reads, **stage.writes}
    return all(path.exists() and known[path.as_posix()] == dvc_hash(path) for path in paths)


def _interval(problem: str, card: Card) -> Measured | None:
    for row in read_table(STATISTICS, "intervals").itertuples():
        if (row.problem, row.model, row.measure) == (problem, card.model, MEASURE[problem]):
            return Measured(row.measure, row.value, row.low, row.high, row.images, row.method)
    return None
