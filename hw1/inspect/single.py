"""Single files, and folders of pictures, as ``hw1.predict`` and ``data.weights`` would take them."""

import collections
from pathlib import Path

from hw1.archive.pictures import PictureError
from hw1.archive.spelling import pairs, shown
from hw1.archive.tables import DELIMITERS, TableError, class_number, read_table
from hw1.inspect.headers import class_range, headers_of, refusals
from hw1.predict.reading import pictures_in, read_bytes
from hw1.run.errors import InputError

KINDS = ("tiles", "masks", "others")  # of pictures in a folder that has tiles or masks


def table_lines(path: Path) -> tuple[list[str], int]:
    """Columns, lines and labels of a csv, and how many labels would be refused."""
    try:
        table = read_table(read_bytes(path), ("filename",))
    except (PictureError, TableError) as error:
        raise InputError(f"{path}: {error}") from None
    lines = [f"{path}: {len(table.rows):,} lines, separated by {DELIMITERS[table.delimiter]}", *table.notes]
    if "label" not in table.columns:
        return [*lines, "no labels: to predict by, not to train or score on"], 0
    labels, faults = collections.Counter(), []
    for row in table.rows:
        try:
            labels[class_number(row.label)] += 1
        except TableError as error:
            faults.append(f"line {row.line}: {error}")
    lines += [class_range(labels, "lines")] if labels else []
    return [*lines, *refusals(faults)], len(faults)


def pictures_lines(path: Path) -> tuple[list[str], int]:
    """Formats and sizes of a folder's pictures, whether they pair as tiles and masks, and how many are none."""
    pictures, reading = pictures_in(path)
    lines, faults, parts = [], [], {"": pictures}
    try:
        found = pairs([file.name for file in pictures])
    except ValueError as error:
        faults.append(f"{path}: {error}")
    else:
        tiles, masks = found["sat"], found["mask"]
        if tiles or masks:
            lines.append(f"{len(tiles):,} tiles, {len(masks):,} masks, {len(tiles.keys() & masks.keys()):,} pairs")
            kinds = dict.fromkeys(tiles.values(), "tiles") | dict.fromkeys(masks.values(), "masks")
            parts = {kind: [file for file in pictures if kinds.get(file.name, "others") == kind] for kind in KINDS}
    told = []
    for kind, files in parts.items():
        if files:
            headers = headers_of(files, read_bytes, lambda file, what: f"{shown(str(file))}: {what}")
            told.append(f"{path}, {kind}: {headers.line}" if kind else f"{path}: {headers.line}")
            faults += headers.faults
    return [*told, *lines, *reading.reasons(), *refusals(faults)], len(faults)


def weights_lines(path: Path) -> tuple[list[str], int]:
    """The tensors that a file of weights holds."""
    from hw1.byol.given import describe  # only here: torch takes seconds

    return [f"{path}: {line}" for line in describe(path)], 0
