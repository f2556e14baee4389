"""From the archive to arrays: every member is read in sorted order, decoded and resized once.

The resize is the first, deterministic step of both augmentations, so doing it once is exact.
"""

import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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

Decode = Callable[[str], np.ndarray]
FEWEST = 2  # pictures of a split: BatchNorm cannot train on one, and one point has no neighbours
CHUNK = 64  # members, at most, that a thread decodes before it hands them over
MINI, MINI_TABLE, OFFICE = "p2_data/mini/train", "p2_data/mini/train.csv", "p2_data/office"


def prepare_p1(archive: Archive, prepare: Prepare, out: Path) -> Reading:
    """``train_50`` and ``val_50``: the label is the file name up to the underscore."""
    splits = {
        split: {member: label_of_name(archive, member) for member in enough(archive, f"p1_data/{folder}")}
        for split, folder in (("train", "train_50"), ("validation", "val_50"))
    }
    _save_labelled(archive, splits, prepare.p1, out)
    return _told(archive, splits, "p1_data")


def prepare_mini(archive: Archive, prepare: Prepare, out: Path) -> Reading:
    """The pre-training images; labels only where the archive has ``mini/train.csv``.

    The course's supervised weights, where the archive has them, are kept beside the arrays.
    """
    notes: list[str] = []
    if MINI_TABLE in archive:
        split = labels_of(archive, MINI, MINI_TABLE, notes)
        _save_labelled(archive, {"train": split}, prepare.mini, out)
        members = list(split)
    else:
        members = enough(archive, MINI)
        _save_images(out / "train_images.npy", members, _resized(archive, prepare.mini))
        Manifest(archive.origin, *steps(prepare.mini), 0, _names(members), []).save(out)
    if given := archive.weights:
        archive.copy_weights(given, out / GIVEN_WEIGHTS)
        notes.append("the supervised backbone is the archive's")
    return _told(archive, {"train": members}, "p2_data", OFFICE, notes)


def prepare_office(archive: Archive, prepare: Prepare, out: Path) -> Reading:
    """The fine-tuning images, resized to a square and centre-cropped; labels from the csv files."""
    notes: list[str] = []
    splits = {
        split: labels_of(archive, f"{OFFICE}/{folder}", f"{OFFICE}/{folder}.csv", notes)
        for split, folder in (("train", "train"), ("validation", "val"))
    }
    _save_labelled(archive, splits, prepare.office, out)
    return _told(archive, splits, OFFICE, notes=notes)


def prepare_p3(archive: Archive, prepare: Prepare, out: Path) -> Reading:
    """Satellite tiles and masks, square; the validation masks keep their own size, for scoring."""
    size = (prepare.p3.size, prepare.p3.size)
    train, validation = (tiles_of(archive, f"p3_data/{split}") for split in ("train", "validation"))

    seen: dict[str, set[int]] = {"train": set(), "validation": set()}  # classes, before small spots of one are lost

    def mask_of(pair: tuple[str, str], split: str) -> np.ndarray:
        mask = tile_mask(archive, pair)
        seen[split].update(np.flatnonzero(np.bincount(mask.ravel())).tolist())
        return mask

    def square_mask(pair: tuple[str, str]) -> np.ndarray:
        return np.asarray(Image.fromarray(mask_of(pair, "train")).resize(size, Image.Resampling.NEAREST))

    for split, tiles in (("train", train), ("validation", validation)):
        _save_images(
            out / f"{split}_images.npy",
            [tile for tile, _ in tiles.values()],
            lambda tile: square_tile(archive.image(tile), prepare.p3.size),
        )
    _save_images(out / "train_masks.npy", list(train.values()), square_mask)
    own_size = list(validation.values())
    save_masks(
        out, "validation", list(in_threads(lambda pair: mask_of(pair, "validation"), own_size, _chunk(own_size)))
    )
    for split, classes in seen.items():
        if flaw := one_class(classes):
            raise archive.fault(f"p3_data/{split}", f"{flaw}: nothing to learn or to score; are these the right masks?")
    Manifest(
        archive.origin, prepare.p3.size, prepare.p3.size, "bilinear", len(LAND_COVER), list(train), list(validation)
    ).save(out)
    reading = _told(archive, {"train": train, "validation": validation}, "p3_data", what="tiles with masks")
    alone = {member for split in seen for member in archive.pictures(f"p3_data/{split}")} & reading.left_out.keys()
    reading.left_out |= dict.fromkeys(alone, NO_PAIR)
    return reading


PARTS: dict[str, Callable[[Archive, Prepare, Path], Reading]] = {
    "p1": prepare_p1,
    "mini": prepare_mini,
    "office": prepare_office,
    "p3": prepare_p3,
}


def enough(archive: Archive, folder: str) -> list[str]:
    """The pictures of a split; an error where they are too few to train or to score on."""
    members = archive.pictures(folder)
    if len(members) < FEWEST:
        raise archive.fault(folder, f"has {len(members)} picture, at least {FEWEST} are needed; add some")
    return members


def label_of_name(archive: Archive, member: str) -> int:
    """The class in a picture's name, up to the underscore."""
    return archive.label(posixpath.basename(member).split("_")[0], member)


def labels_of(archive: Archive, folder: str, table: str, notes: list[str]) -> dict[str, int]:
    """Picture -> label; a picture without its line and a line without its picture are errors.

    Names spelt otherwise in the table are matched (:func:`hw1.archive.spelling.matched`), which joins ``notes``.
    """
    members = {posixpath.basename(member): member for member in archive.pictures(folder)}
    content = archive.table(table)
    rows = {row.filename: row for row in content.rows}
    files = matched(list(rows), list(members))
    for name in sorted(members.keys() - set(files.values())):
        raise archive.fault(members[name], f"has no line in {table}; add one or remove the image")
    for name in sorted(rows.keys() - files.keys()):
        raise archive.fault(
            f"{folder}/{name}", f"no such picture, but {table} has a line for it (line {rows[name].line})"
        )
    notes += [f"{posixpath.basename(table)}: {note}" for note in content.notes]
    notes += spelt_otherwise(files, posixpath.basename(table))
    labels = {file: archive.label(rows[name].label, f"{table}, line {rows[name].line}") for name, file in files.items()}
    enough(archive, folder)
    return {member: labels[name] for name, member in members.items()}


def tiles_of(archive: Archive, folder: str) -> dict[str, tuple[str, str]]:
    """Id -> picture and mask of each tile of a split, sorted; one without the other is an error."""
    members = {posixpath.basename(member): member for member in archive.pictures(folder)}
    try:
        found = pairs(members)
    except ValueError as error:
        raise archive.fault(folder, str(error)) from None
    images, masks = found["sat"], found["mask"]
    if not images and not masks:
        raise archive.fault(
            folder, f"no pairs like 0001_sat.jpg and 0001_mask.png; it has pictures such as {few(sorted(members))}"
        )
    for tile in sorted(images.keys() - masks.keys()):
        raise archive.fault(members[images[tile]], f"has no mask; {shown(tile)}_mask.png must lie beside it")
    for tile in sorted(masks.keys() - images.keys()):
        raise archive.fault(members[masks[tile]], f"has no image; {shown(tile)}_sat.jpg must lie beside it")
    if len(images) < FEWEST:
        raise archive.fault(folder, f"has {len(images)} tile with its mask, at least {FEWEST} are needed; add some")
    return {tile: (members[images[tile]], members[masks[tile]]) for tile in sorted(images)}


def tile_mask(archive: Archive, pair: tuple[str, str]) -> np.ndarray:
    """Classes (H, W) uint8 of a tile's mask, which must have its image's size."""
    tile, name = pair
    mask = archive.mask(name)
    width, height = archive.image_size(tile)
    if mask.shape != (height, width):
        raise archive.fault(name, f"is {mask.shape[1]}x{mask.shape[0]} pixels, its image is {width}x{height}")
    return mask


def _told(
    archive: Archive,
    splits: Mapping[str, Collection[str]],
    folder: str,
    apart: str = "",
    notes: Sequence[str] = (),
    what: str = "pictures",
) -> Reading:
    """What was read of a folder, with what was left out."""
    reading = archive.reading(folder, apart)
    for split, members in splits.items():
        reading.read[f"{what} to {'train' if split == 'train' else 'validate'} on"] = len(members)
    reading.notes += notes
    return reading


def _resized(archive: Archive, geometry: Square | ResizeCrop) -> Decode:
    """Members as (size, size, 3) uint8."""
    return lambda member: resized_crop(archive.image(member), *steps(geometry))


def steps(geometry: Square | ResizeCrop) -> tuple[int, int, str]:
    """To what side in px an image is resized, what of it is kept, and by which filter: bicubic, where none is named."""
    if isinstance(geometry, Square):
        return geometry.size, geometry.size, "bicubic"
    return geometry.resize, geometry.crop, geometry.filter


def _save_labelled(
    archive: Archive, splits: dict[str, dict[str, int]], geometry: Square | ResizeCrop, out: Path
) -> None:
    """Images and labels of each split; the classes are those of the training split, 0 to K-1."""
    classes = len(set(splits["train"].values()))
    for labels in splits.values():
        for member, label in labels.items():
            if label >= classes:
                raise archive.fault(
                    member, f"label {label}, but the training images have {classes} classes, 0-{classes - 1}"
                )
    for split, labels in splits.items():
        _save_images(out / f"{split}_images.npy", list(labels), _resized(archive, geometry))
        np.save(out / f"{split}_labels.npy", np.array(list(labels.values()), np.int64))
    names = (_names(splits["train"]), _names(splits.get("validation", ())))
    Manifest(archive.origin, *steps(geometry), classes, *names).save(out)


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
    """Items that a thread decodes at a time: at most CHUNK, and few enough that every thread has some."""
    return max(1, min(CHUNK, len(items) // (4 * cores())))


def _names(members: Iterable[str]) -> list[str]:
    return [posixpath.basename(member) for member in members]
