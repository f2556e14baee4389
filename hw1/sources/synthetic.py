"""The embedded data set: drawn pictures in the layout of the course's archive, nothing to download.

``hw1.sources.objects`` draws the images of P1, Mini and Office, ``hw1.sources.landcover`` the tiles of P3;
this module decides how many, under which names, and writes them.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import BinaryIO

import numpy as np
from PIL import Image

from hw1.archive.archive import ORIGIN, SYNTHETIC
from hw1.archive.pictures import in_threads
from hw1.data.classes import MASK_COLOURS
from hw1.run.parameters.params import LabelledImages, Synthetic, Tiles, UnlabelledImages
from hw1.sources import landcover, objects
from hw1.sources.packing import label_table

REPORT_TILES = (13, 62, 104)  # the validation tiles that question 4 of P3 shows
JPEG_QUALITY = 92

Members = Iterable[tuple[str, bytes]]  # name below hw1_data/ and content


def write_archive(params: Synthetic, file: BinaryIO) -> None:
    """Draw the whole data set into one uncompressed zip; the same ``params`` give the same bytes.

    Members, in the course's layout: RGB PNG for P1 and the masks, RGB JPEG for the rest, and an
    ``id,filename,label`` table for Mini and for each split of Office. Every part and split draws from
    its own generator, so another size of one leaves the pictures of the others as they are.
    """
    p1, mini, office, p3 = np.random.default_rng(params.seed).spawn(4)
    origin = (ORIGIN, json.dumps({"data": SYNTHETIC, "seed": params.seed}).encode())
    with zipfile.ZipFile(file, "w") as archive:
        parts = (_p1(params.p1, p1), _mini(params.mini, mini), _office(params.office, office), _p3(params.p3, p3))
        for name, content in chain([origin], *parts):
            # All fields set: their defaults depend on the clock and the operating system.
            info = zipfile.ZipInfo(f"hw1_data/{name}", date_time=(2023, 9, 1, 0, 0, 0))
            info.create_system = 3  # Unix, whose file mode follows
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)


def _splits(params: LabelledImages, part: str, rng: np.random.Generator) -> Iterator[tuple[list[str], Iterable]]:
    """Yield of the training, then of the validation ``{label}_{number}`` and pictures of all images."""
    kinds, first = objects.kinds(part, params.classes), 0
    for count, generator in zip((params.train, params.validation), rng.spawn(2), strict=True):
        labels = _balanced_labels(count, params.classes, generator)
        names = [f"{label}_{number}" for number, label in enumerate(labels, start=first)]
        yield names, objects.draw(labels, kinds, params.size, generator)
        first += count


def _p1(params: LabelledImages, rng: np.random.Generator) -> Members:
    for folder, (names, pictures) in zip(("train_50", "val_50"), _splits(params, "p1", rng), strict=True):
        for name, picture in zip(names, pictures, strict=True):
            yield f"p1_data/{folder}/{name}.png", _png(picture)


def _mini(params: UnlabelledImages, rng: np.random.Generator) -> Members:
    labels = _balanced_labels(params.train, params.classes, rng)
    kinds = objects.kinds("mini", params.classes)
    for index, picture in enumerate(objects.draw(labels, kinds, params.size, rng)):
        yield f"p2_data/mini/train/{index}.jpg", _jpeg(picture)
    yield "p2_data/mini/train.csv", label_table((f"{index}.jpg", label) for index, label in enumerate(labels))


def _office(params: LabelledImages, rng: np.random.Generator) -> Members:
    for folder, (names, pictures) in zip(("train", "val"), _splits(params, "office", rng), strict=True):
        for name, picture in zip(names, pictures, strict=True):
            yield f"p2_data/office/{folder}/{name}.jpg", _jpeg(picture)
        yield f"p2_data/office/{folder}.csv", label_table((f"{name}.jpg", name.split("_")[0]) for name in names)


def _p3(params: Tiles, rng: np.random.Generator) -> Members:
    train, validation = rng.spawn(2)
    for split, numbers, generator in (
        ("train", range(params.train), train),
        ("validation", validation_numbers(params.validation), validation),
    ):
        # One generator per tile: more tiles leave the first ones as they are, whatever core draws them.
        drawn = in_threads(partial(landcover.draw_tile, params.size), generator.spawn(len(numbers)), chunk=4)
        for number, (picture, codes) in zip(numbers, drawn, strict=True):
            yield f"p3_data/{split}/{number:04d}_sat.jpg", _jpeg(picture)
            yield f"p3_data/{split}/{number:04d}_mask.png", _png(MASK_COLOURS[codes])


def validation_numbers(count: int) -> list[int]:
    """``count`` (3 or more) tile numbers in order: those the report shows, then the lowest others."""
    others = [number for number in range(count) if number not in REPORT_TILES]
    return sorted([*REPORT_TILES, *others][:count])


def _balanced_labels(count: int, classes: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) labels in random order; the frequencies of two classes differ by at most one."""
    return rng.permutation(np.arange(count) % classes)


def _png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    # The fastest compression: noisy pictures hardly shrink more at higher levels.
    Image.fromarray(pixels).save(content, "PNG", compress_level=1)
    return content.getvalue()


def _jpeg(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=JPEG_QUALITY)
    return content.getvalue()
