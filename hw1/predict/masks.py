"""Masks of satellite tiles, as problem 3 asks for them: one PNG a tile, each written whole or not at all."""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from hw1.data.classes import LAND_COVER, MASK_COLOURS
from hw1.data.pictures import PictureError, decode_mask
from hw1.errors import InputError
from hw1.evaluate.metrics import count_confusion
from hw1.evaluate.validation import at_size, most_likely
from hw1.files import whole_file
from hw1.predict.model import Predictor
from hw1.predict.reading import Picture, Reader, files_in, read_bytes, shown

TILE, MASK = "_sat.jpg", "_mask.png"


@dataclass(frozen=True)
class Masking:
    """How many ``images`` there were, how many ``faults`` among them, the ``confusion`` counts (7, 8) over all
    ``scored`` tiles, those with a true mask beside them.
    """

    images: int
    faults: int
    confusion: Tensor
    scored: int


def predict_masks(predictor: Predictor, folder: Path, out: Path) -> Masking:
    """Write ``{id}_mask.png`` into ``out`` for every ``{id}_sat.jpg`` of ``folder`` that can be read, in its own size.

    Memory holds a batch and one tile's scores, 28 bytes a pixel: 1.4 GB for the largest picture that is read.
    """
    tiles = files_in(folder, (TILE,))
    if out.exists() and out.samefile(folder):
        raise InputError(f"{out}: the folder of the tiles; true masks may lie there, give another one")
    reader = Reader(predictor.stored)
    confusion, scored = torch.zeros(len(LAND_COVER), len(LAND_COVER) + 1, dtype=torch.int64), 0
    for batch in reader.batches(tiles, predictor.batch_size):
        scores_of_tiles = predictor.logits([picture.pixels for picture in batch])
        for picture, scores in zip(batch, scores_of_tiles, strict=True):
            prediction = most_likely(at_size(scores, picture.shape)).byte().cpu()
            name = _mask_name(picture.path)
            with whole_file(out / name) as draft:
                Image.fromarray(MASK_COLOURS[prediction.numpy()]).save(draft)
            if (folder / name).exists():
                try:
                    confusion += count_confusion(_truth(folder / name, picture), prediction, len(LAND_COVER))
                    scored += 1
                except PictureError as error:
                    reader.fault(f"{shown(folder / name)}: {error}; not scored")
    return Masking(reader.images, reader.faults, confusion, scored)


def _mask_name(tile: Path) -> str:
    return f"{tile.name[: -len(TILE)]}{MASK}"


def _truth(path: Path, picture: Picture) -> Tensor:
    truth = decode_mask(read_bytes(path))
    if truth.shape != picture.shape:
        height, width = picture.shape
        raise PictureError(f"{truth.shape[1]} x {truth.shape[0]} pixels, its tile has {width} x {height}")
    return torch.from_numpy(truth)
