"""From the archive to arrays: every member is read in sorted order, decoded and resized once.

The resize is the first, deterministic step of both augmentations, so doing it once is exact.
"""

import os
import posixpath
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hw1.archive.archive import Archive
from hw1.archive.parallel import cores, in_threads
from hw1.archive.pictures import resized_crop, square_tile
from hw1.data.arrays import GIVEN_WEIGHTS, Manifest, save_masks
from hw1.data.classes import LAND_COVER
from hw1.run.params import Prepare, ResizeCrop, Square

Decode = Callable[[str], np.ndarray]
CHUNK = 64  # members, at most, that a thread decodes before it hands them over


def prepare_p1(archive: Archive, prepare: Prepare, out: Path) -> None:
    """``train_50`` and ``val_50``: the label is the file name up to the underscore."""
    splits = {
        split: {
            member: archive.label(posixpath.basename(member).split("_")[0], member)
            for member in archive.members(f"p1_data/{folder}", ".png")
        }
        for split, folder in (("train", "train_50"), ("validation", "val_50"))
    }
    _save_labelled(archive, splits, prepare.p1, out)


def prepare_mini(archive: Archive, prepare: Prepare, out: Path) -> None:
    """The pre-training images; labels only where the archive has ``mini/train.csv``.

    The course's supervised weights, where the archive has them, are kept beside the arrays.
    """
    if "p2_data/mini/train.csv" in archive:
        split = _labels_of(archive, "p2_data/mini/train", "p2_data/mini/train.csv")
        _save_labelled(archive, {"train": split}, prepare.mini, out)
    else:
        members = archive.members("p2_data/mini/train", ".jpg")
        _save_images(out / "train_images.npy", members, _resized(archive, prepare.mini))
        Manifest(archive.origin, *sides(prepare.mini), 0, _names(members), []).save(out)
    if GIVEN_WEIGHTS in archive:
        archive.copy_weights(GIVEN_WEIGHTS, out / GIVEN_WEIGHTS)


def prepare_office(archive: Archive, prepare: Prepare, out: Path) -> None:
    """The fine-tuning images, resized to a square and centre-cropped; labels from the csv files."""
    splits = {
        split: _labels_of(archive, f"p2_data/office/{folder}", f"p2_data/office/{folder}.csv")
        for split, folder in (("train", "train"), ("validation", "val"))
    }
    _save_labelled(archive, splits, prepare.office, out)


def prepare_p3(archive: Archive, prepare: Prepare, out: Path) -> None:
    """Satellite tiles and masks, square; the validation masks keep their own size, for scoring."""
    size = (prepare.p3.size, prepare.p3.size)

    def tile(name: str) -> np.ndarray:
        return square_tile(archive.image(f"{name}_sat.jpg"), prepare.p3.size)

    def square_mask(name: str) -> np.ndarray:
        return np.asarray(Image.fromarray(_mask(archive, name)).resize(size, Image.Resampling.NEAREST))

    train, validation = (_tiles(archive, f"p3_data/{split}") for split in ("train", "validation"))
    _save_images(out / "train_images.npy", train, tile)
    _save_images(out / "train_masks.npy", train, square_mask)
    _save_images(out / "validation_images.npy", validation, tile)
    save_masks(out, "validation", list(in_threads(lambda name: _mask(archive, name), validation, _chunk(validation))))
    Manifest(archive.origin, *sides(prepare.p3), len(LAND_COVER), _names(train), _names(validation)).save(out)


PARTS: dict[str, Callable[[Archive, Prepare, Path], None]] = {
    "p1": prepare_p1,
    "mini": prepare_mini,
    "office": prepare_office,
    "p3": prepare_p3,
}


def _labels_of(archive: Archive, folder: str, table: str) -> dict[str, int]:
    """Member -> label; an image without its line and a line without its image are errors."""
    labels = {f"{folder}/{name}": label for name, label in archive.table(table).items()}
    members = archive.members(folder, ".jpg")
    for member in members:
        if member not in labels:
            raise archive.fault(member, f"has no line in {table}; add one or remove the image")
    for member in sorted(labels.keys() - set(members)):
        raise archive.fault(member, f"missing or no .jpg, but {table} has a line for it")
    return {member: labels[member] for member in members}


def _tiles(archive: Archive, folder: str) -> list[str]:
    """Sorted ``{folder}/{id}`` of a split's tiles, each with both its image and its mask."""
    images = {member.removesuffix("_sat.jpg") for member in archive.members(folder, "_sat.jpg")}
    masks = {member.removesuffix("_mask.png") for member in archive.members(folder, "_mask.png")}
    for tile in sorted(images - masks):
        raise archive.fault(f"{tile}_sat.jpg", f"has no mask; {posixpath.basename(tile)}_mask.png must lie beside it")
    for tile in sorted(masks - images):
        raise archive.fault(f"{tile}_mask.png", f"has no image; {posixpath.basename(tile)}_sat.jpg must lie beside it")
    return sorted(images)


def _mask(archive: Archive, tile: str) -> np.ndarray:
    """Classes (H, W) uint8 of a tile's mask, which must have its image's size."""
    mask = archive.mask(f"{tile}_mask.png")
    width, height = archive.image_size(f"{tile}_sat.jpg")
    if mask.shape != (height, width):
        given = f"{mask.shape[1]}x{mask.shape[0]}"
        raise archive.fault(f"{tile}_mask.png", f"is {given} pixels, its image is {width}x{height}")
    return mask


def _resized(archive: Archive, geometry: Square | ResizeCrop) -> Decode:
    """Members as (size, size, 3) uint8."""
    resize, crop = sides(geometry)
    return lambda member: resized_crop(archive.image(member), resize, crop)


def sides(geometry: Square | ResizeCrop) -> tuple[int, int]:
    """To what an image is resized, and what of it is kept, in px."""
    return (geometry.size, geometry.size) if isinstance(geometry, Square) else (geometry.resize, geometry.crop)


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
    Manifest(archive.origin, *sides(geometry), classes, *names).save(out)


def _save_images(path: Path, members: Sequence[str], decode: Decode) -> None:
    """Decode members of one shape into one (N, ...) uint8 array on disk."""
    first = decode(members[0])
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (len(members), *first.shape))
    if hasattr(os, "posix_fallocate"):  # a full disk is an error there, and the end of the process in a memory map
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    for index, image in enumerate(in_threads(decode, members, _chunk(members))):
        array[index] = image
    array.flush()


def _chunk(members: Sequence[str]) -> int:
    """Members that a thread decodes at a time: at most CHUNK, and few enough that every thread has some."""
    return max(1, min(CHUNK, len(members) // (4 * cores())))


def _names(members: Iterable[str]) -> list[str]:
    return [posixpath.basename(member) for member in members]
