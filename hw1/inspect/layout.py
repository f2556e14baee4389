"""An archive in the course's layout: what each part of it holds, without decoding more than masks and headers."""

import collections
import posixpath
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from hw1.archive.archive import Archive
from hw1.archive.parts import MINI, Split, reading_of, require_known_labels, splits_of, tile_mask
from hw1.archive.pictures import PictureError, in_threads, one_class, opened
from hw1.archive.spelling import few, roots
from hw1.data.classes import LAND_COVER
from hw1.run.errors import InputError
from hw1.sources.packing import entries
from hw1.sources.sources import folders, take

CHUNK = 32  # pictures a thread looks at
SHOWN = 5  # faults that are told one by one
TITLES = {"p1": "P1", "mini": "P2, pre-training", "office": "P2, fine-tuning", "p3": "P3"}

Item = TypeVar("Item")


def holds_course(path: Path) -> bool:
    """Tell whether a file or folder holds p1_data, p2_data or p3_data somewhere."""
    if path.is_dir():
        return bool(roots(f"{folder.relative_to(path).as_posix()}/" for folder in folders(path)))
    if not (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
        return False
    return bool(roots(entry.name for entry in entries(path)))


def course_lines(path: Path) -> tuple[list[str], int]:
    """Write a line or more for each part, and count the faults that would end the pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        source = path
        if path.is_dir() or not zipfile.is_zipfile(path):  # the reader wants a zip: the files as they are
            source = Path(folder, "archive.zip")
            take(path, source)
        archive = Archive(source, called=path)
        lines = [f"{path}: {len(archive):,} files in {archive.root or 'the top folder'}"]
        if archive.outside:
            lines.append(f"  left out {len(archive.outside):,} outside of the course's folders: {few(archive.outside)}")
        refused = 0
        for part, title in TITLES.items():
            content, faults = _part(part, archive)
            lines += [title, *(f"  {line}" for line in (*content, *refusals(faults)))]
            refused += len(faults)
        return lines, refused


def _part(part: str, archive: Archive) -> tuple[list[str], list[str]]:
    """Lines about a part of the archive, and its faults."""
    lines: list[str] = []
    faults: list[str] = []
    notes: list[str] = []
    try:
        if part == "mini":
            notes += _notes_of_mini(archive)
        splits = splits_of(part, archive, notes)
    except InputError as error:
        return notes, [str(error)]
    for title, split in splits.items():
        lines += [f"{title}: {line}" for line in _split(archive, title, split, faults)]
    if len(splits) == 2:
        lines += _leaks(archive, *splits.values())
    try:
        require_known_labels(archive, splits)
    except InputError as error:
        faults.append(str(error))
    return [*lines, *notes, *reading_of(part, archive).reasons()], faults


def _notes_of_mini(archive: Archive) -> list[str]:
    notes = [f"supervised backbone: {archive.weights}"] if archive.weights else []
    if f"{MINI}.csv" not in archive:
        without = "" if notes else ", so settings B and D have nothing to start from"
        notes.append(f"no labels (no mini/train.csv){without}")
    return notes


def _split(archive: Archive, title: str, split: Split, faults: list[str]) -> list[str]:
    """Lines about pictures to train or to validate on; what is wrong with them joins ``faults``."""
    line, wrong = header_lines(split.pictures, archive.read, lambda member, what: str(archive.fault(member, what)))
    lines = [line]
    faults += wrong
    if split.labels:
        lines.append(class_range(collections.Counter(split.labels), "pictures"))
    if split.masks:
        lines.append(_masks(archive, title, split, faults))
    return lines


def _masks(archive: Archive, title: str, split: Split, faults: list[str]) -> str:
    """Shares of the classes in the masks, and their sizes; those that are none join ``faults``."""
    pixels, sizes = np.zeros(len(LAND_COVER), np.int64), collections.Counter()

    def count(pair: tuple[str, str]) -> tuple[np.ndarray, tuple[int, int]] | str:
        try:
            mask = tile_mask(archive, *pair)
        except InputError as error:
            return str(error)
        return np.bincount(mask.ravel(), minlength=len(LAND_COVER)), (mask.shape[1], mask.shape[0])

    for counted in in_threads(count, zip(split.pictures, split.masks, strict=True), 1):
        if isinstance(counted, str):
            faults.append(counted)
        else:
            pixels += counted[0]
            sizes[counted[1]] += 1
    seen = np.flatnonzero(pixels).tolist()
    if flaw := one_class(seen):
        faults.append(f"p3_data/{title}: {flaw}")
    shares = ", ".join(f"{LAND_COVER[code]} {100 * pixels[code] / pixels.sum():.1f} %" for code in seen)
    return f"{sizes.total():,} masks: {shares}, {size_range(sizes)}" if sizes else "0 masks: "


def _leaks(archive: Archive, train: Split, validation: Split) -> list[str]:
    """Pictures of the validation that are among the training's, byte for byte."""
    known: dict[tuple[int, int], list[str]] = collections.defaultdict(list)
    for member in train.pictures:
        known[archive.identity(member)].append(member)
    leaks = []
    for member in validation.pictures:
        like = known.get(archive.identity(member), ())
        same = (other for other in like if archive.read(other) == archive.read(member))
        leaks += [f"{posixpath.basename(member)} = {posixpath.basename(other)}" for other in islice(same, 1)]
    return [f"a leak: {len(leaks):,} of the validation are among the training's: {few(leaks)}"] if leaks else []


def header_lines(
    items: Sequence[Item], read: Callable[[Item], bytes], fault: Callable[[Item, str], str]
) -> tuple[str, list[str]]:
    """Describe pictures by their headers, such as "4,500 PNG, each 32 x 32", and list those that are none.

    ``fault`` words what is wrong with an item that was read.
    """

    def header(item: Item) -> tuple[str, tuple[int, int]] | str:
        try:
            picture = opened(read(item))
        except PictureError as error:
            return fault(item, str(error))
        except InputError as error:
            return str(error)
        return picture.format, picture.size

    headers = list(in_threads(header, items, CHUNK))
    faults = [seen for seen in headers if isinstance(seen, str)]
    formats = collections.Counter(seen[0] for seen in headers if not isinstance(seen, str))
    sizes = collections.Counter(seen[1] for seen in headers if not isinstance(seen, str))
    counts = ", ".join(f"{count:,} {kind}" for kind, count in formats.most_common())
    return f"{counts}, {size_range(sizes)}" if sizes else "no picture", faults


def size_range(sizes: Mapping[tuple[int, int], int]) -> str:
    """Word the sizes of pictures, the smallest and the largest by their number of pixels."""
    ordered = [f"{width} x {height}" for width, height in sorted(sizes, key=lambda size: (size[0] * size[1], size))]
    return f"{len(ordered):,} sizes from {ordered[0]} to {ordered[-1]}" if ordered[1:] else f"each {ordered[0]}"


def class_range(counts: Mapping[int, int], what: str) -> str:
    """Word the classes by how many ``what`` each has."""
    gaps = list(islice((label for label in range(max(counts)) if label not in counts), SHOWN + 1))  # of a billion, too
    more = " and more" if len(gaps) > SHOWN else ""
    without = f" (none of {', '.join(map(str, gaps[:SHOWN]))}{more})" if gaps else ""
    fewest, most = min(counts.values()), max(counts.values())
    each = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return f"{len(counts)} classes, {min(counts)} to {max(counts)}{without}, {each} {what} each"


def refusals(faults: Sequence[str]) -> list[str]:
    """Write a line for each of the first few, and one for how many more there are."""
    more = [f"refused: {len(faults) - SHOWN:,} more like these"] if len(faults) > SHOWN else []
    return [f"refused: {fault}" for fault in faults[:SHOWN]] + more
