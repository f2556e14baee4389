"""Masks of satellite tiles, as problem 3 asks for them: one PNG a tile, each written whole or not at all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hw1.archive.archive import NO_PAIR, Reading
from hw1.archive.pictures import PictureError, decode_mask, one_class
from hw1.archive.spelling import few, matched, pair_of, pairs, shown
from hw1.data.classes import LAND_COVER, MASK_COLOURS
from hw1.engine.metrics import count_confusion
from hw1.engine.validation import class_map, most_likely
from hw1.predict.model import Predictor
from hw1.predict.reading import Picture, Reader, pictures_in, read_bytes
from hw1.run.errors import InputError
from hw1.run.files import whole_file

MASK = "{}_mask.png"
NO_TILE = "a mask without its tile"


@dataclass(frozen=True)
class Masking:
    """Numbers of ``images`` and of ``faults`` among them; ``confusion`` counts (7, 7) over the ``scored`` tiles, those
    with a true mask beside them; and how many true masks could not be used.
    """

    images: int
    faults: int
    confusion: Tensor
    scored: int
    unscored: int


def paired(folder: Path, kind: str) -> tuple[dict[str, dict[str, str]], Reading]:
    """File names of a folder's pictures by ``sat`` or ``mask`` and id.

    Raises:
        InputError: no such folder, none of ``kind`` (sat or mask) in it, or two of one id.
    """
    pictures, reading = pictures_in(folder)
    names = [path.name for path in pictures]
    try:
        files = pairs(names)
    except ValueError as error:
        raise InputError(f"{folder}: {error}") from None
    if not files[kind]:
        wanted = {"sat": "tiles like 0001_sat.jpg", "mask": "masks like 0001_mask.png"}[kind]
        raise InputError(f"{folder}: no {wanted}; it has pictures such as {few(names)}")
    used = {*files["sat"].values(), *files["mask"].values()}
    reading.left_out |= {name: NO_PAIR for name in names if name not in used}
    return files, reading


def tiles_in(folder: Path) -> tuple[dict[Path, Path], Reading]:
    """The tiles ``{id}_sat`` of a folder, each with the place of its true mask, which may be there or not.

    Raises:
        InputError: as :func:`paired`.
    """
    files, reading = paired(folder, "sat")
    tiles, masks = files["sat"], files["mask"]
    mask_ids = matched(list(tiles), list(masks))
    true = {tile: masks[mask_ids[tile]] for tile in mask_ids}
    reading.left_out |= {name: NO_TILE for name in masks.values() if name not in true.values()}
    reading.read = {"tiles": len(tiles), "true masks": len(true)}
    return {folder / name: folder / true.get(tile, MASK.format(tile)) for tile, name in tiles.items()}, reading


def predict_masks(predictor: Predictor, tiles: Mapping[Path, Path], out: Path, window: bool = False) -> Masking:
    """Write ``{id}_mask.png`` into ``out`` for every tile that can be read, in its own size.

    The network is given the tile resized to its own size, or with ``window`` one overlapping window of it after
    another.

    Raises:
        InputError: none can be read.
    """
    reader = Reader(np.asarray if window else predictor.stored)
    confusion, scored, unscored = torch.zeros(len(LAND_COVER), len(LAND_COVER), dtype=torch.int64), 0, 0
    for batch in reader.batches(list(tiles), 1 if window else predictor.batch_size):
        pixels = [picture.pixels for picture in batch]
        if window:
            predictions = (windowed_map(predictor, tile) for tile in pixels)
        else:
            shapes = [picture.shape for picture in batch]
            predictions = (class_map(*one).cpu() for one in zip(predictor.logits(pixels), shapes, strict=True))
        for picture, prediction in zip(batch, predictions, strict=True):
            tile, _ = pair_of(picture.path.name)
            with whole_file(out / MASK.format(tile)) as draft:
                Image.fromarray(MASK_COLOURS[prediction.numpy()]).save(draft)
            truth = tiles[picture.path]
            if truth.exists():
                try:
                    confusion += count_confusion(_truth(truth, picture), prediction, len(LAND_COVER))
                    scored += 1
                except PictureError as error:
                    unscored += 1
                    reader.tell(f"{shown(str(truth))}: {error}; not scored")
    reader.require_some()
    return Masking(reader.images, reader.faults, confusion, scored, unscored)


def flaw_of(confusion: Tensor) -> str:
    """A line on true masks that are all of one class, from counts (7, 7); "" where they are not."""
    return one_class(confusion.sum(1).nonzero().flatten().tolist())


def _truth(path: Path, picture: Picture) -> Tensor:
    truth = decode_mask(read_bytes(path))
    if truth.shape != picture.shape:
        height, width = picture.shape
        raise PictureError(f"{truth.shape[1]} x {truth.shape[0]} pixels, its tile has {width} x {height}")
    return torch.from_numpy(truth)


def windowed_map(predictor: Predictor, pixels: np.ndarray) -> Tensor:
    """The class of each pixel of a tile (H, W, 3) uint8, at its own scale: (H, W) uint8 on the CPU.

    Windows have the side of the network's tiles and lie half a side apart. A window counts most in its middle and
    hardly at its edge, so none shows in the mask. A tile smaller than a window is continued by its edge. Of the shares
    only the rows of one window are in memory, 28 bytes a pixel.
    """
    height, width = pixels.shape[:2]
    side = predictor.card.crop
    pixels = np.pad(pixels, ((0, max(0, side - height)), (0, max(0, side - width)), (0, 0)), mode="edge")
    ramp = 1 - (2 * (torch.arange(side) + 0.5) / side - 1).abs()
    weight, lefts = torch.outer(ramp, ramp), starts(pixels.shape[1], side)
    sums = torch.zeros(len(LAND_COVER), side, pixels.shape[1])
    rows = []
    for top, following in pairwise([*starts(pixels.shape[0], side), pixels.shape[0]]):
        band = [pixels[top : top + side, left : left + side] for left in lefts]
        for left, shares in zip(lefts, _shares(predictor, band), strict=True):
            sums[:, :, left : left + side] += shares * weight
        done = following - top
        rows.append(most_likely(sums[:, :done]).byte())
        sums = torch.cat([sums[:, done:], torch.zeros(len(LAND_COVER), done, pixels.shape[1])], 1)
    return torch.cat(rows)[:height, :width]


def starts(length: int, side: int) -> list[int]:
    """The begins of windows of ``side`` along ``length`` px: half a side apart, the last one ends where it ends."""
    last = length - side
    return [*range(0, last, max(1, side // 2)), last]


def _shares(predictor: Predictor, windows: list[np.ndarray]) -> Iterator[Tensor]:
    """The softmax shares (7, S, S) of each window."""
    for first in range(0, len(windows), predictor.batch_size):
        yield from predictor.logits(windows[first : first + predictor.batch_size]).softmax(1).cpu()
