"""Masks of satellite tiles, as problem 3 asks for them: one PNG a tile, each written whole or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass
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
from hw1.engine.validation import class_map
from hw1.predict.model import Predictor
from hw1.predict.reading import Picture, Reader, pictures_in, read_bytes
from hw1.predict.windows import windowed_map
from hw1.run.errors import InputError
from hw1.run.files import whole_file

MASK = "{}_mask.png"
NO_TILE = "a mask without its tile"


@dataclass(frozen=True)
class Masking:
    """How many ``images`` there were, how many ``faults`` among them, the ``confusion`` counts (7, 7) over all
    ``scored`` tiles, those with a true mask beside them; ``unscored`` true masks could not be used, and ``flaw`` says
    why all the others are none to score by.
    """

    images: int
    faults: int
    confusion: Tensor
    scored: int
    unscored: int
    flaw: str


def tiles_in(folder: Path) -> tuple[dict[Path, Path], Reading]:
    """The tiles ``{id}_sat`` of a folder, each with the place of its true mask, which may be there or not.

    Raises:
        InputError: no such folder, no tiles in it, or two of one id.
    """
    pictures, reading = pictures_in(folder)
    try:
        found = pairs([path.name for path in pictures])
    except ValueError as error:
        raise InputError(f"{folder}: {error}") from None
    tiles, masks = found["sat"], found["mask"]
    if not tiles:
        there = few([path.name for path in pictures])
        raise InputError(f"{folder}: no tiles like 0001_sat.jpg; it has pictures such as {there}")
    of = matched(list(tiles), list(masks))
    used = {*tiles.values(), *(masks[tile] for tile in of.values())}
    for path in pictures:
        if path.name not in used:
            reading.left_out[path.name] = NO_TILE if path.name in masks.values() else NO_PAIR
    reading.read = {"tiles": len(tiles), "true masks": len(of)}
    where = {tile: folder / masks[of[tile]] if tile in of else folder / MASK.format(tile) for tile in tiles}
    return {folder / name: where[tile] for tile, name in tiles.items()}, reading


def predict_masks(predictor: Predictor, tiles: Mapping[Path, Path], out: Path, window: bool = False) -> Masking:
    """Write ``{id}_mask.png`` into ``out`` for every tile that can be read, in its own size.

    The network is given the tile resized to its own size, or with ``window`` one overlapping window of it after
    another (:mod:`hw1.predict.windows`).

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
    return Masking(reader.images, reader.faults, confusion, scored, unscored, flaw_of(confusion))


def flaw_of(confusion: Tensor) -> str:
    """What is wrong with true masks, from counts (7, 7), if they are all of one class; "" where they are not."""
    return one_class(confusion.sum(1).nonzero().flatten().tolist())


def _truth(path: Path, picture: Picture) -> Tensor:
    truth = decode_mask(read_bytes(path))
    if truth.shape != picture.shape:
        height, width = picture.shape
        raise PictureError(f"{truth.shape[1]} x {truth.shape[0]} pixels, its tile has {width} x {height}")
    return torch.from_numpy(truth)
