"""An archive in the course's layout: what each part of it holds, without decoding more than masks and headers."""

import collections
import posixpath
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from hw1.archive.archive import Archive
from hw1.archive.parts import MINI, MINI_TABLE, OFFICE, enough, label_of_name, labels_of, tile_mask, tiles_of
from hw1.archive.pictures import in_threads, one_class
from hw1.archive.spelling import few, roots
from hw1.data.classes import LAND_COVER
from hw1.inspect.headers import class_range, headers_of, refusals, size_range
from hw1.run.errors import InputError
from hw1.sources.packing import entries
from hw1.sources.sources import folders, take


@dataclass
class Split:
    """Pictures of one part to train or to validate on: their labels, or their masks, where there are some."""

    title: str
    pictures: list[str]
    labels: Mapping[str, int] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)


def holds_course(path: Path) -> bool:
    """Whether a file or folder holds p1_data, p2_data or p3_data somewhere."""
    if path.is_dir():
        return bool(roots(f"{folder.relative_to(path).as_posix()}/" for folder in folders(path)))
    if not (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
        return False
    return bool(roots(entry.name for entry in entries(path)))


def course_lines(path: Path) -> tuple[list[str], int]:
    """A line or more for each part, and how many faults would end the pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        source = path
        if path.is_dir() or not zipfile.is_zipfile(path):  # the reader wants a zip: the files as they are
            source = Path(folder, "archive.zip")
            take(path, source)
        archive = Archive(source, called=path)
        lines = [f"{path}: {len(archive.members()):,} files in {archive.root or 'the top folder'}"]
        if archive.outside:
            lines.append(f"  left out {len(archive.outside):,} outside of the course's folders: {few(archive.outside)}")
        refused = 0
        for title, look in PARTS.items():
            told, faults = _part(archive, look)
            lines += [title, *(f"  {line}" for line in (*told, *refusals(faults)))]
            refused += len(faults)
        return lines, refused


Look = Callable[[Archive, list[str]], list[Split]]


def _part(archive: Archive, look: Look) -> tuple[list[str], list[str]]:
    """Lines about a part of the archive, and its faults."""
    notes: list[str] = []
    try:
        splits = look(archive, notes)
    except InputError as error:
        return notes, [str(error)]
    lines, faults = [], []
    for split in splits:
        told, wrong = _split(archive, split)
        lines += [f"{split.title}: {line}" for line in told]
        faults += wrong
    if len(splits) == 2:
        lines += _leaks(archive, *splits)
    faults += _beyond(splits)
    return [*lines, *notes, *archive.reading(*FOLDERS[look]).reasons()], faults


def _split(archive: Archive, split: Split) -> tuple[list[str], list[str]]:
    headers = headers_of(split.pictures, archive.read, lambda member, what: str(archive.fault(member, what)))
    lines, faults = [headers.line], headers.faults
    if split.labels:
        lines.append(class_range(collections.Counter(split.labels.values()), "pictures"))
    if split.masks:
        shares, wrong = _masks(archive, split)
        lines.append(shares)
        faults += wrong
    return lines, faults


def _masks(archive: Archive, split: Split) -> tuple[str, list[str]]:
    """How much of the masks each class has, their sizes, and the faults of those that are none."""
    pixels, faults, sizes = np.zeros(len(LAND_COVER), np.int64), [], collections.Counter()

    def count(pair: tuple[str, str]) -> tuple[np.ndarray, tuple[int, int]] | str:
        try:
            mask = tile_mask(archive, pair)
            return np.bincount(mask.ravel(), minlength=len(LAND_COVER)), (mask.shape[1], mask.shape[0])
        except InputError as error:
            return str(error)

    for found in in_threads(count, list(zip(split.pictures, split.masks.values(), strict=True)), 1):
        if isinstance(found, str):
            faults.append(found)
        else:
            pixels += found[0]
            sizes[found[1]] += 1
    there = [code for code, number in enumerate(pixels) if number]
    if flaw := one_class(there):
        faults.append(f"p3_data/{split.title}: {flaw}")
    shares = ", ".join(f"{LAND_COVER[code]} {100 * pixels[code] / pixels.sum():.1f} %" for code in there)
    return f"{sizes.total():,} masks: {shares}, {size_range(sizes)}" if sizes else "0 masks: ", faults


def _leaks(archive: Archive, train: Split, validation: Split) -> list[str]:
    """Pictures of the validation that are among the training's, byte for byte."""
    known: dict[tuple[int, int], list[str]] = collections.defaultdict(list)
    for member in train.pictures:
        known[archive.identity(member)].append(member)
    found = []
    for member in validation.pictures:
        like = known.get(archive.identity(member), ())
        same = (other for other in like if archive.read(other) == archive.read(member))
        found += [f"{posixpath.basename(member)} = {posixpath.basename(other)}" for other in islice(same, 1)]
    return [f"a leak: {len(found):,} of the validation are among the training's: {few(found)}"] if found else []


def _beyond(splits: Sequence[Split]) -> list[str]:
    """Labels that the training does not have."""
    classes = len(set(splits[0].labels.values()))
    wrong = [member for split in splits for member, label in split.labels.items() if label >= classes]
    return [f"{few(wrong)}: labels from {classes} on, but there are {classes} classes to train on"] if wrong else []


# -- the parts


def _p1(archive: Archive, notes: list[str]) -> list[Split]:
    found = {"train": enough(archive, "p1_data/train_50"), "validation": enough(archive, "p1_data/val_50")}
    return [Split(key, there, {name: label_of_name(archive, name) for name in there}) for key, there in found.items()]


def _mini(archive: Archive, notes: list[str]) -> list[Split]:
    if given := archive.weights:
        notes.append(f"supervised backbone: {given}")
    if MINI_TABLE not in archive:
        without = "" if given else ", so settings B and D have nothing to start from"
        notes.append(f"no labels (no mini/train.csv){without}")
        return [Split("train", enough(archive, MINI))]
    labels = labels_of(archive, MINI, MINI_TABLE, notes)
    return [Split("train", list(labels), labels)]


def _office(archive: Archive, notes: list[str]) -> list[Split]:
    found = {
        key: labels_of(archive, f"{OFFICE}/{folder}", f"{OFFICE}/{folder}.csv", notes)
        for key, folder in (("train", "train"), ("validation", "val"))
    }
    return [Split(key, list(labels), labels) for key, labels in found.items()]


def _p3(archive: Archive, notes: list[str]) -> list[Split]:
    found = {key: tiles_of(archive, f"p3_data/{key}") for key in ("train", "validation")}
    return [
        Split(key, [tile for tile, _ in pairs.values()], masks={name: mask for name, (_, mask) in pairs.items()})
        for key, pairs in found.items()
    ]


PARTS: dict[str, Look] = {"P1": _p1, "P2, pre-training": _mini, "P2, fine-tuning": _office, "P3": _p3}
FOLDERS = {_p1: ("p1_data",), _mini: ("p2_data", OFFICE), _office: (OFFICE,), _p3: ("p3_data",)}
