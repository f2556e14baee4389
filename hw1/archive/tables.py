"""The csv tables of the data set, header ``id,filename,label``, from bytes nobody vouches for."""

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass

MAX_DIGITS = 9  # of a label


class TableError(ValueError):
    """What is wrong with a table, and where; whoever knows its name adds it."""


@dataclass(frozen=True)
class Row:
    """A line of a table; ``id`` and ``label`` are "" where it has none."""

    line: int
    id: str
    filename: str
    label: str


def read_rows(data: bytes, required: Collection[str]) -> list[Row]:
    """The lines of a table, each file name once; its header must have the ``required`` columns, filename among them."""
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        rows = [Row(reader.line_num, *(row.get(key) or "" for key in ("id", "filename", "label"))) for row in reader]
    except UnicodeDecodeError:
        raise TableError("not UTF-8 text") from None
    except csv.Error as error:
        raise TableError(f"not a csv table ({error})") from None
    if not set(required) <= set(reader.fieldnames or ()):
        raise TableError("its first line must be the header id,filename,label")
    seen = set()
    for row in rows:
        if not row.filename or row.filename in seen:
            raise TableError(f"line {row.line}: file name {row.filename!r} is empty or stands twice")
        seen.add(row.filename)
    return rows


def class_number(text: str) -> int:
    """The class a label names: 0, 1, 2, ..."""
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise TableError(f"label {text[:20]!r} is not a class number (0, 1, 2, ...)")
    return int(text)
