"""Labels of images, as problems 1 and 2 ask for them: a csv, written whole or not at all."""

import csv
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hw1.archive.archive import Reading
from hw1.archive.pictures import PictureError
from hw1.archive.spelling import (
    MAX_DIGITS,
    TableError,
    class_number,
    matched,
    plain,
    read_table,
    shown,
    spelt_otherwise,
)
from hw1.engine.validation import labels_of
from hw1.predict.model import Predictor
from hw1.predict.reading import Reader, pictures_in, read_bytes
from hw1.run.errors import InputError
from hw1.run.files import whole_file

NO_LINE = "without a line in the csv"
LABELLED = re.compile(rf"(\d{{1,{MAX_DIGITS}}})_.")  # {label}_{id}.png, as the course names its images


@dataclass(frozen=True)
class Item:
    """An image to predict: its file, the cells of its line before the label, and what stands as its label, "" if
    nothing does.
    """

    path: Path
    cells: tuple[str, ...]
    given: str = ""

    @property
    def label(self) -> int | None:
        with suppress(TableError):  # a table without labels may have anything there
            return class_number(self.given)
        return None


def items_of_folder(folder: Path) -> tuple[list[Item], Reading]:
    """Problem 1: every picture of a folder, by name."""
    pictures, reading = pictures_in(folder)
    named = [LABELLED.match(path.name) for path in pictures]
    items = [Item(path, (path.name,), name[1] if name else "") for path, name in zip(pictures, named, strict=True)]
    return items, reading


def items_of_table(table: Path, folder: Path) -> tuple[list[Item], Reading]:
    """Problem 2: the lines of a csv ``[id,]filename[,label]``, whose file names are in ``folder``.

    Without ids the lines are numbered from 0. Files of the folder that the csv does not name are left out.

    Raises:
        InputError: no such table, no csv, a file name that leaves the folder, or no such folder.
    """
    try:
        content = read_table(read_bytes(table), ("filename",))
    except (PictureError, TableError) as error:
        raise InputError(f"{table}: {error}") from None
    if not content.rows:
        raise InputError(f"{table}: no lines after its header")
    pictures, reading = pictures_in(folder, least=0)  # they may lie in folders of it
    names = [path.name for path in pictures]
    files = matched([row.filename for row in content.rows], names)
    items = []
    for number, row in enumerate(content.rows):
        name = PurePosixPath(row.filename.replace("\\", "/"))
        if name.is_absolute() or not plain(row.filename):
            raise InputError(f"{table}: line {row.line}: {row.filename!r} is no file name in a folder")
        cells = (row.id if "id" in content.columns else str(number), row.filename)
        items.append(Item(folder / files.get(row.filename, name), cells, row.label))
    named = {item.path.relative_to(folder).parts[0] for item in items}
    unused = reading.left_out | dict.fromkeys(names, NO_LINE)
    reading.left_out = {name: why for name, why in unused.items() if name not in named}
    reading.read = {"lines of the csv": len(items)}
    reading.notes += content.notes + spelt_otherwise(files, "the csv")
    return items, reading


@dataclass(frozen=True)
class Labelling:
    """Numbers of ``images`` and of ``faults`` among them, and a line about the score, "" without labels."""

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
    if not any(item.given for item in items):
        return ""
    unlabelled = [item for item in items if item.label is None or item.label >= classes]
    if not unlabelled:
        return f"accuracy {hits / done:.4f} ({hits} of {done})"
    first = unlabelled[0]
    example = repr(first.given[:20]) if first.given else f"none for {shown(first.path.name)}"
    numbers = f"{len(unlabelled):,} of {len(items):,}"
    print(f"no score: {numbers} images have no label 0-{classes - 1} ({example})", file=sys.stderr)
    return ""
