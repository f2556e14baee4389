"""Names of files and tables of labels as people spell them: made alike, and matched where the spellings differ."""

import collections
import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

PARTS = ("p1_data", "p2_data", "p3_data")  # the course's folders
JUNK = ("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin")  # what systems leave in folders, in lower case
FEW = 5  # names that a line gives before it counts
PAIRED = re.compile(r"(.+)[-_. ](sat|mask)", re.IGNORECASE)

MAX_DIGITS = 9  # of a label
NUMBER = re.compile(rf"([0-9]{{1,{MAX_DIGITS}}})(\.0+)?")  # pandas writes 3.0 where a column had a gap
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# What others call the columns, in lower case; the course's own name comes first and wins.
CALLED = {
    "id": ("id", "index", ""),  # pandas leaves the name of its index empty
    "filename": ("filename", "file_name", "file name", "file", "image", "image_name", "img", "path", "image_path"),
    "label": ("label", "labels", "class", "target", "class_id", "label_id"),
}


def plain(name: str) -> str:
    """Write a member's name with slashes, relative, without empty and ``.`` parts; "" for one that leaves its folder.

    Windows' programs write backslashes, some of tar's users absolute names.
    """
    parts = [part for part in re.sub(r"^[A-Za-z]:", "", name.replace("\\", "/")).split("/") if part not in ("", ".")]
    return "" if ".." in parts else "/".join(parts)


def is_hidden(name: str) -> bool:
    """Tell whether a file, or a folder that it lies in, is hidden or a system's own."""
    return any(part.startswith(".") or part.lower() in JUNK for part in name.split("/"))


def shown(name: str) -> str:
    """Escape what is not printable in a name."""
    return name if name.isprintable() else ascii(name)


def few(names: Sequence[str]) -> str:
    """List the first few of some names, and how many more there are."""
    more = f" and {len(names) - FEW:,} more" if len(names) > FEW else ""
    return ", ".join(map(shown, names[:FEW])) + more


def roots(names: Iterable[str]) -> list[str]:
    """List the folders, with a slash at their end, that the course's folders lie in; "" is the top."""
    places = {}
    for name in names:
        folders = name.split("/")[:-1]
        depth = next((index for index, folder in enumerate(folders) if folder.lower() in PARTS), None)
        if depth is not None and not is_hidden(name):
            places["".join(f"{folder}/" for folder in folders[:depth])] = None
    return list(places)


def pair_of(name: str) -> tuple[str, str] | None:
    """Split the file name of a tile or mask into its id and its kind, ``sat`` or ``mask``; None of any other."""
    named = PAIRED.fullmatch(PurePosixPath(name).stem)
    return (named[1], named[2].lower()) if named else None


def pairs(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Sort file names to kind -> id -> name, of the tiles (``sat``) and the masks (``mask``) among them.

    Raises:
        ValueError: two files are one tile's, or two of its mask.
    """
    kinds: dict[str, dict[str, str]] = {"sat": {}, "mask": {}}
    for name in sorted(names):
        if pair := pair_of(name):
            other = kinds[pair[1]].setdefault(pair[0], name)
            if other != name:
                raise ValueError(f"{shown(name)} and {shown(other)} are of one tile; remove one")
    return kinds


def matched(wanted: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """Match each name of a table to the file that it means, as far as one can tell.

    The same name; else the same without folders; else but for its case or the form of its accents; else but for its
    ending too. A spelling counts where one name and one file alone have it.
    """
    known = set(files)
    matches = {name: name for name in wanted if name in known}
    for spelling in (_base, _folded, lambda name: PurePosixPath(_folded(name)).stem):
        spelt: dict[str, tuple[list[str], list[str]]] = collections.defaultdict(lambda: ([], []))
        for name in wanted:
            if name not in matches:
                spelt[spelling(name)][0].append(name)
        for file in known.difference(matches.values()):
            spelt[spelling(file)][1].append(file)
        matches |= {names[0]: same[0] for names, same in spelt.values() if len(names) == len(same) == 1}
    return matches


def _base(name: str) -> str:
    return PurePosixPath(plain(name)).name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", _base(name)).casefold()


def spelt_otherwise(matches: Mapping[str, str], table: str) -> list[str]:
    """Tell of the names that :func:`matched` found under another spelling: a line, or none."""
    other = sorted(f"{name} for {file}" for name, file in matches.items() if name != file)
    return [f"{table} spells {len(other):,} names otherwise: {few(other)}"] if other else []


class TableError(ValueError):
    """A fault of a table, and where; whoever knows its name adds it."""


@dataclass(frozen=True)
class Row:
    """A line of a table; ``id`` and ``label`` are "" where it has none."""

    line: int
    id: str
    filename: str
    label: str


@dataclass(frozen=True)
class Table:
    """A table's rows, each file name once; notes of columns that were taken under another name."""

    rows: list[Row]
    columns: dict[str, str]  # id, filename and label by their names in it
    delimiter: str

    @property
    def notes(self) -> list[str]:
        other = {key: name for key, name in self.columns.items() if name.lower() != key and key != "id"}
        return [f"{key} is taken from the column {name!r}" for key, name in other.items()]


def read_table(data: bytes, required: Collection[str]) -> Table:
    """Read a table with the ``required`` columns, ``filename`` among them; further ones are passed over.

    Columns stand in any order, in capitals or not, separated by commas, semicolons, tabs or bars.

    Raises:
        TableError: no text in UTF-8 or UTF-16, no such header, a line of more cells than it, or a file name that is
            empty or stands twice.
    """
    try:  # by its byte order mark, as Excel's "Unicode text" has one, else UTF-8
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise TableError("not UTF-8 text; save the table as UTF-8") from None
    before = text.lower().startswith("sep=")  # Excel's line that names the separator
    body = text.partition("\n")[2] if before else text
    delimiter, places, header = _header(body, required)
    try:
        reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, skipinitialspace=True)
        lines = [(reader.line_num + before, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise TableError(f"not a csv table ({error})") from None
    rows: dict[str, Row] = {}
    filled = [(line, cells) for line, cells in lines if any(cells)]
    for line, cells in filled[1:]:
        if any(cells[len(header) :]):
            count = f"{len(cells)} cells, the header has {len(header)}"
            raise TableError(f"line {line}: {count}; quote a cell with a separator")
        cells += [""] * len(header)
        row = Row(line, *(cells[places[key]] if key in places else "" for key in CALLED))
        if not row.filename or row.filename in rows:
            raise TableError(f"line {line}: file name {row.filename[:60]!r} is empty or stands twice")
        rows[row.filename] = row
    return Table(list(rows.values()), {key: header[place] for key, place in places.items()}, delimiter)


def _header(text: str, required: Collection[str]) -> tuple[str, dict[str, int], list[str]]:
    """Find the separator by which the first line has the required columns, their places and all its cells."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    for delimiter in DELIMITERS:
        cells = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter, skipinitialspace=True), [])]
        names = [cell.lower() for cell in cells]
        places = {}
        for key, called in CALLED.items():
            accepted = [key] if key in names else called
            columns = [place for place, name in enumerate(names) if name in accepted]
            if len(columns) == 1:  # of several, which one?
                places[key] = columns[0]
        if places.keys() >= set(required):
            return delimiter, places, cells
    wanted = " and ".join(required)
    example = f"it must be a header with {wanted}, such as id,filename,label"
    raise TableError(f"its first line is {first[:60]!r}, but {example}")


def class_number(text: str) -> int:
    """Read the class a label names: 0, 1, 2, ..., also written 1.0."""
    named = NUMBER.fullmatch(text)
    if not named:
        raise TableError(f"label {text[:20]!r} is not a class number (0, 1, 2, ...)")
    return int(named[1])
