"""Labels of images, as problems 1 and 2 ask for them: a csv, written whole or not at all."""

import csv
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hw1.archive.pictures import PictureError
from hw1.archive.tables import MAX_DIGITS, TableError, class_number, read_rows
from hw1.engine.validation import labels_of
from hw1.predict.model import Predictor
from hw1.predict.reading import Reader, files_in, read_bytes
from hw1.run.errors import InputError
from hw1.run.files import whole_file

LABELLED = re.compile(rf"(\d{{1,{MAX_DIGITS}}})_.")  # {label}_{id}.png, as the course names its images


@dataclass(frozen=True)
class Item:
    """An image to predict: its file, the cells of its line before the label, and the true label where it is known."""

    path: Path
    cells: tuple[str, ...]
    label: int | None


def items_of_folder(folder: Path) -> list[Item]:
    """Problem 1: every .png and .jpg of a folder, by name."""
    items = []
    for path in files_in(folder, (".png", ".jpg", ".jpeg")):
        named = LABELLED.match(path.name)
        items.append(Item(path, (path.name,), int(named[1]) if named else None))
    return items


def items_of_table(table: Path, folder: Path) -> list[Item]:
    """Problem 2: the lines of a csv ``id,filename[,label]``, whose file names are in ``folder``.

    Raises:
        InputError: no such table, no csv, or a file name that leaves the folder.
    """
    try:
        rows = read_rows(read_bytes(table), ("id", "filename"))
    except (PictureError, TableError) as error:
        raise InputError(f"{table}: {error}") from None
    if not rows:
        raise InputError(f"{table}: no lines after its header")
    items = []
    for row in rows:
        name = Path(row.filename)
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"{table}: line {row.line}: {row.filename!r} is no file name in a folder")
        label = None
        with suppress(TableError):  # a table without labels may have anything there
            label = class_number(row.label)
        items.append(Item(folder / name, (row.id, row.filename), label))
    return items


@dataclass(frozen=True)
class Labelling:
    """How many ``images`` there were, how many ``faults`` among them, and a line about the score, "" without labels."""

    images: int
    faults: int
    score: str


def predict_labels(predictor: Predictor, items: Sequence[Item], out: Path, header: Sequence[str]) -> Labelling:
    """Write ``out`` with a line for every image that can be read, in the order of ``items``.

    Raises:
        InputError: none of them can be read.
    """
    reader = Reader(predictor.stored)
    hits = done = 0
    with whole_file(out) as draft, open(draft, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for batch in reader.batches([item.path for item in items], predictor.batch_size):
            logits = predictor.logits([picture.pixels for picture in batch])
            labels = labels_of(logits, predictor.card.classes).tolist()
            for picture, label in zip(batch, labels, strict=True):
                item = items[picture.index]
                writer.writerow((*item.cells, label))
                hits += label == item.label
                done += 1
        reader.require_some()
    return Labelling(reader.images, reader.faults, _score(items, hits, done, predictor.card.classes))


def _score(items: Sequence[Item], hits: int, done: int, classes: int) -> str:
    """Accuracy, where every image has a label; told on stderr where only some have."""
    labelled = sum(item.label is not None and item.label < classes for item in items)
    if not labelled or not done:
        return ""
    if labelled < len(items):
        print(
            f"no score: {len(items) - labelled} of {len(items)} images have no label 0-{classes - 1}", file=sys.stderr
        )
        return ""
    return f"accuracy {hits / done:.4f} ({hits} of {done})"
