"""Tables of images and labels, from bytes nobody vouches for: the course's ``id,filename,label`` and its kin."""

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

MAX_DIGITS = 9  # of a label
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# What others call the columns, in lower case; the course's own name comes first and wins.
CALLED = {
    "id": ("id", "index", ""),  # pandas leaves the name of its index empty
    "filename": ("filename", "file_name", "file name", "file", "image", "image_name", "img", "path", "image_path"),
    "label": ("label", "labels", "class", "target", "class_id", "label_id"),
}
NUMBER = re.compile(rf"([0-9]{{1,{MAX_DIGITS}}})(\.0+)?")  # pandas writes 3.0 where a column had a gap


class TableError(ValueError):
    """What is wrong with a table, and where; whoever knows its name adds it."""


@dataclass(frozen=True)
class Row:
    """A line of a table; ``id`` and ``label`` are "" where it has none."""

    line: int
    id: str
    filename: str
    label: str


@dataclass(frozen=True)
class Table:
    """A table's rows, each file name once; the columns ``id``, ``filename``, ``label`` by their names in it."""

    rows: list[Row]
    columns: dict[str, str]
    delimiter: str

    @property
    def notes(self) -> list[str]:
        """Which columns were taken for the course's under another name."""
        other = {key: name for key, name in self.columns.items() if name.lower() != key and key != "id"}
        return [f"{key} is taken from the column {name!r}" for key, name in other.items()]


def read_table(data: bytes, required: Collection[str]) -> Table:
    """A table with the ``required`` columns, ``filename`` among them; further ones are passed over.

    Columns stand in any order, in capitals or not, separated by commas, semicolons, tabs or bars.

    Raises:
        TableError: no text in UTF-8 or UTF-16, no such header, a line of more cells than it, or a file name that is
            empty or stands twice.
    """
    text = _text(data)
    before = text.lower().startswith("sep=")  # Excel's line that names the separator
    body = text.partition("\n")[2] if before else text
    delimiter, header = _header(body, required)
    places = {key: place for key in CALLED if (place := _place(header, key)) is not None}
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        lines = [(reader.line_num + before, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise TableError(f"not a csv table ({error})") from None
    filled = [(line, cells) for line, cells in lines if any(cells)]
    rows = [_row(line, cells, header, places) for line, cells in filled[1:]]
    _require_names(rows)
    return Table(rows, {key: header[place] for key, place in places.items()}, delimiter)


def _row(line: int, cells: Sequence[str], header: Sequence[str], places: Mapping[str, int]) -> Row:
    if any(cells[len(header) :]):
        raise TableError(
            f"line {line}: {len(cells)} cells, the header has {len(header)}; quote a cell with a separator"
        )
    there = {key: cells[place] for key, place in places.items() if place < len(cells)}
    return Row(line, *(there.get(key, "") for key in CALLED))


def _text(data: bytes) -> str:
    """Decoded by its byte order mark, as Excel's "Unicode text" has one, else as UTF-8."""
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise TableError("not UTF-8 text; save the table as UTF-8") from None


def _header(text: str, required: Collection[str]) -> tuple[str, list[str]]:
    """The separator by which the first line has the required columns, and its cells."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    for delimiter in DELIMITERS:
        cells = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter, skipinitialspace=True), [])]
        if all(_place(cells, key) is not None for key in required):
            return delimiter, cells
    wanted = " and ".join(required)
    raise TableError(
        f"its first line is {first[:60]!r}, but it must be a header with {wanted}, such as id,filename,label"
    )


def _place(header: Sequence[str], key: str) -> int | None:
    """Which column is the ``key``; None where none is, or several could be."""
    names = [name.lower() for name in header]
    if names.count(key) == 1:
        return names.index(key)
    found = [place for place, name in enumerate(names) if name in CALLED[key]]
    return found[0] if len(found) == 1 and key not in names else None


def _require_names(rows: Sequence[Row]) -> None:
    seen = set()
    for row in rows:
        if not row.filename or row.filename in seen:
            raise TableError(f"line {row.line}: file name {row.filename[:60]!r} is empty or stands twice")
        seen.add(row.filename)


def class_number(text: str) -> int:
    """The class a label names: 0, 1, 2, ..., also written 1.0."""
    named = NUMBER.fullmatch(text)
    if not named:
        raise TableError(f"label {text[:20]!r} is not a class number (0, 1, 2, ...)")
    return int(named[1])
