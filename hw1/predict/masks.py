"""Masks of satellite tiles, as problem 3 asks for them: one PNG a tile, each written whole or not at all."""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from hw1.archive.pictures import PictureError, decode_mask
from hw1.data.classes import LAND_COVER, MASK_COLOURS
from hw1.engine.metrics import count_confusion
from hw1.engine.validation import class_map
from hw1.predict.model import Predictor
from hw1.predict.reading import Picture, Reader, files_in, read_bytes, shown
from hw1.run.files import whole_file

TILE, MASK = "_sat.jpg", "_mask.png"


@dataclass(frozen=True)
class Masking:
    """How many ``images`` there were, how many ``faults`` among them, the ``confusion`` counts (7, 7) over all
    ``scored`` tiles, those with a true mask beside them; ``unscored`` true masks could not be used.
    """

    images: int
    faults: int
    confusion: Tensor
    scored: int
    unscored: int


def predict_masks(predictor: Predictor, folder: Path, out: Path) -> Masking:
    """Write ``{id}_mask.png`` into ``out`` for every ``{id}_sat.jpg`` of ``folder`` that can be read, in its own size.

    Raises:
        InputError: no such folder, no tiles in it, or none that can be read.
    """
    tiles = files_in(folder, (TILE,))
    reader = Reader(predictor.stored)
    confusion, scored, unscored = torch.zeros(len(LAND_COVER), len(LAND_COVER), dtype=torch.int64), 0, 0
    for batch in reader.batches(tiles, predictor.batch_size):
        scores_of_tiles = predictor.logits([picture.pixels for picture in batch])
        for picture, scores in zip(batch, scores_of_tiles, strict=True):
            prediction = class_map(scores, picture.shape).cpu()
            name = _mask_name(picture.path)
            with whole_file(out / name) as draft:
                Image.fromarray(MASK_COLOURS[prediction.numpy()]).save(draft)
            if (folder / name).exists():
                try:
                    confusion += count_confusion(_truth(folder / name, picture), prediction, len(LAND_COVER))
                    scored += 1
                except PictureError as error:
                    unscored += 1
                    reader.tell(f"{shown(folder / name)}: {error}; not scored")
    reader.require_some()
    return Masking(reader.images, reader.faults, confusion, scored, unscored)


def _mask_name(tile: Path) -> str:
    return f"{tile.name[: -len(TILE)]}{MASK}"


def _truth(path: Path, picture: Picture) -> Tensor:
    truth = decode_mask(read_bytes(path))
    if truth.shape != picture.shape:
        height, width = picture.shape
        raise PictureError(f"{truth.shape[1]} x {truth.shape[0]} pixels, its tile has {width} x {height}")
    return torch.from_numpy(truth)
