"""From the archive to arrays: every member is read in sorted order, decoded and resized once.

The resize is the first, deterministic step of both augmentations, so doing it once is exact.
"""

import os
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from hw1.archive.archive import NO_PAIR, Archive, Reading
from hw1.archive.pictures import in_threads, one_class, resized_crop, square_tile
from hw1.archive.spelling import few, matched, pairs, shown, spelt_otherwise
from hw1.data.arrays import GIVEN_WEIGHTS, Manifest, save_masks
from hw1.data.classes import LAND_COVER
from hw1.run.parameters.params import Prepare, ResizeCrop, Square
from hw1.run.processes.numerics import cores

FEWEST = 2  # pictures of a split: BatchNorm cannot train on one, and one point has no neighbours
CHUNK = 64  # members, at most, that a thread decodes before it hands them over
MINI, OFFICE = "p2_data/mini/train", "p2_data/office"
PARTS = {"p1": "p1_data", "mini": "p2_data", "office": OFFICE, "p3": "p3_data"}  # by the folder of each


@dataclass(frozen=True)
class Split:
    """Pictures to train or to validate on, sorted: their names in the manifest, their members, labels or masks."""

    names: Sequence[str]
    pictures: Sequence[str]
    labels: Sequence[int] = ()
    masks: Sequence[str] = ()


def prepare(part: str, archive: Archive, sizes: Prepare, out: Path) -> Reading:
    """Store a part's arrays and manifest (:mod:`hw1.data.arrays`) in ``out``; beside mini's the supervised weights."""
    notes: list[str] = []
    splits = splits_of(part, archive, notes)
    if part == "p3":
        _save_tiles(archive, splits, sizes.p3.size, out)
    else:
        _save_labelled(archive, splits, _steps(getattr(sizes, part)), out)
    if part == "mini" and (weights := archive.weights):
        archive.copy_weights(weights, out / GIVEN_WEIGHTS)
        notes.append("the supervised backbone is the archive's")
    reading = reading_of(part, archive)
    kind = "tiles with masks" if part == "p3" else "pictures"
    for split, content in splits.items():
        reading.read[f"{kind} to {'train' if split == 'train' else 'validate'} on"] = len(content.names)
    reading.notes += notes
    return reading


def splits_of(part: str, archive: Archive, notes: list[str]) -> dict[str, Split]:
    """List what a part has to train and to validate on; mini has labels only where it has a table.

    Names spelt otherwise in a table are matched (:func:`hw1.archive.spelling.matched`), which joins ``notes``.

    Raises:
        InputError: too few pictures in a split, or one without a label or a mask.
    """
    match part:
        case "p1":
            folders = {"train": "p1_data/train_50", "validation": "p1_data/val_50"}
            return {split: _labelled_by_names(archive, folder) for split, folder in folders.items()}
        case "mini":
            if f"{MINI}.csv" in archive:
                return {"train": _labelled_by_table(archive, MINI, notes)}
            members = _enough(archive, MINI)
            return {"train": Split(_basenames(members), members)}
        case "office":
            folders = {"train": f"{OFFICE}/train", "validation": f"{OFFICE}/val"}
            return {split: _labelled_by_table(archive, folder, notes) for split, folder in folders.items()}
    return {split: _tiles(archive, f"p3_data/{split}") for split in ("train", "validation")}


def reading_of(part: str, archive: Archive) -> Reading:
    """Report what of a part's folder was left out."""
    reading = archive.reading(PARTS[part], OFFICE if part == "mini" else "")
    if part == "p3":
        pictures = {member for split in ("train", "validation") for member in archive.pictures(f"p3_data/{split}")}
        reading.left_out |= dict.fromkeys(pictures & reading.left_out.keys(), NO_PAIR)
    return reading


def require_known_labels(archive: Archive, splits: dict[str, Split]) -> int:
    """Count the classes, which are those of the training's labels, 0 to K-1; InputError for a label beyond them."""
    classes = len(set(splits["train"].labels))
    for split in splits.values():
        for member, label in zip(split.pictures, split.labels, strict=False):
            if label >= classes:
                known = f"the training images have {classes} classes, 0-{classes - 1}"
                raise archive.fault(member, f"label {label}, but {known}")
    return classes


def tile_mask(archive: Archive, tile: str, name: str) -> np.ndarray:
    """Read the classes (H, W) uint8 of a tile's mask, which must have its image's size."""
    mask = archive.mask(name)
    width, height = archive.image_size(tile)
    if mask.shape != (height, width):
        raise archive.fault(name, f"is {mask.shape[1]}x{mask.shape[0]} pixels, its image is {width}x{height}")
    return mask


def _enough(archive: Archive, folder: str) -> list[str]:
    """List the pictures of a split; an error where they are too few to train or to score on."""
    members = archive.pictures(folder)
    if len(members) < FEWEST:
        raise archive.fault(folder, f"has {len(members)} picture, at least {FEWEST} are needed; add some")
    return members


def _basenames(members: Sequence[str]) -> list[str]:
    return [posixpath.basename(member) for member in members]


def _labelled_by_names(archive: Archive, folder: str) -> Split:
    """Pictures whose names begin with their label and an underscore."""
    members = _enough(archive, folder)
    names = _basenames(members)
    labels = [archive.label(name.split("_")[0], member) for name, member in zip(names, members, strict=True)]
    return Split(names, members, labels)


def _labelled_by_table(archive: Archive, folder: str, notes: list[str]) -> Split:
    """Pictures with their labels of ``folder``.csv; one without its line and a line without its picture are errors."""
    table = f"{folder}.csv"
    members = {posixpath.basename(member): member for member in archive.pictures(folder)}
    content = archive.table(table)
    rows = {row.filename: row for row in content.rows}
    files = matched(list(rows), list(members))
    for name in sorted(members.keys() - set(files.values())):
        raise archive.fault(members[name], f"has no line in {table}; add one or remove the image")
    for name in sorted(rows.keys() - files.keys()):
        line = f"{table} has a line for it (line {rows[name].line})"
        raise archive.fault(f"{folder}/{name}", f"no such picture, but {line}")
    notes += [f"{posixpath.basename(table)}: {note}" for note in content.notes]
    notes += spelt_otherwise(files, posixpath.basename(table))
    labels = {file: archive.label(rows[name].label, f"{table}, line {rows[name].line}") for name, file in files.items()}
    return Split(list(members), _enough(archive, folder), [labels[name] for name in members])


def _tiles(archive: Archive, folder: str) -> Split:
    """Tiles by their ids, sorted, with their masks; one without the other is an error."""
    members = {posixpath.basename(member): member for member in archive.pictures(folder)}
    try:
        images, masks = pairs(members).values()
    except ValueError as error:
        raise archive.fault(folder, str(error)) from None
    if not images and not masks:
        names = few(sorted(members))
        raise archive.fault(folder, f"no pairs like 0001_sat.jpg and 0001_mask.png; it has pictures such as {names}")
    for tile in sorted(images.keys() - masks.keys()):
        raise archive.fault(members[images[tile]], f"has no mask; {shown(tile)}_mask.png must lie beside it")
    for tile in sorted(masks.keys() - images.keys()):
        raise archive.fault(members[masks[tile]], f"has no image; {shown(tile)}_sat.jpg must lie beside it")
    if len(images) < FEWEST:
        raise archive.fault(folder, f"has {len(images)} tile with its mask, at least {FEWEST} are needed; add some")
    tiles = sorted(images)
    pictures, paired = ([members[files[tile]] for tile in tiles] for files in (images, masks))
    return Split(tiles, pictures, masks=paired)


def _steps(geometry: Square | ResizeCrop) -> tuple[int, int, str]:
    """Side in px of the resized square, of its centre that is kept, and the filter, bicubic where none is named."""
    if isinstance(geometry, Square):
        return geometry.size, geometry.size, "bicubic"
    return geometry.resize, geometry.crop, geometry.filter


def _save_labelled(archive: Archive, splits: dict[str, Split], geometry: tuple[int, int, str], out: Path) -> None:
    """Store images and labels of each split, resized to a square and cropped to its centre."""
    classes = require_known_labels(archive, splits)
    for key, split in splits.items():
        _save_images(out / f"{key}_images.npy", split.pictures, lambda it: resized_crop(archive.image(it), *geometry))
        if split.labels:
            np.save(out / f"{key}_labels.npy", np.array(split.labels, np.int64))
    names = [splits[key].names if key in splits else [] for key in ("train", "validation")]
    Manifest(archive.origin, *geometry, classes, *names).save(out)


def _save_tiles(archive: Archive, splits: dict[str, Split], side: int, out: Path) -> None:
    """Store tiles and training masks as squares; the validation masks keep their own size, for scoring."""
    seen: dict[str, set[int]] = {key: set() for key in splits}  # classes, before small spots of one are lost

    def mask_of(key: str, pair: tuple[str, str]) -> np.ndarray:
        mask = tile_mask(archive, *pair)
        seen[key].update(np.flatnonzero(np.bincount(mask.ravel())).tolist())
        return mask

    def square_mask(pair: tuple[str, str]) -> np.ndarray:
        return np.asarray(Image.fromarray(mask_of("train", pair)).resize((side, side), Image.Resampling.NEAREST))

    for key, split in splits.items():
        _save_images(out / f"{key}_images.npy", split.pictures, lambda tile: square_tile(archive.image(tile), side))
    train, validation = (list(zip(split.pictures, split.masks, strict=True)) for split in splits.values())
    _save_images(out / "train_masks.npy", train, square_mask)
    masks = list(in_threads(partial(mask_of, "validation"), validation, _chunk(validation)))
    save_masks(out, "validation", masks)
    for key, classes in seen.items():
        if flaw := one_class(classes):
            question = "nothing to learn or to score; are these the right masks?"
            raise archive.fault(f"p3_data/{key}", f"{flaw}: {question}")
    names = [split.names for split in splits.values()]
    Manifest(archive.origin, side, side, "bilinear", len(LAND_COVER), *names).save(out)


def _save_images(path: Path, items: Sequence, decode: Callable) -> None:
    """Decode items of one shape into one (N, ...) uint8 array on disk."""
    first = decode(items[0])
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (len(items), *first.shape))
    if hasattr(os, "posix_fallocate"):  # a full disk is an error there, and the end of the process in a memory map
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    for index, image in enumerate(in_threads(decode, items, _chunk(items))):
        array[index] = image
    array.flush()


def _chunk(items: Sequence) -> int:
    """Count the items that a thread decodes at a time: at most CHUNK, few enough that every thread has some."""
    return max(1, min(CHUNK, len(items) // (4 * cores())))
