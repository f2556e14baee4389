"""The course's archive built anew from the four public data sets it was made of, by fixed rules.

Which images the course chose was not published, so the result is equivalent by construction, not the
same: as many images, classes and pixels as the course's, none of them in two splits.

- P1: the training images of CIFAR-100's first fifty classes, the last tenth of each class for validation.
- Mini: all images of Mini-ImageNet's 64 training classes, with their labels.
- Office: Office-Home's Real World, 406 of its 4,357 images spread evenly over the sorted names for validation.
- P3: DeepGlobe's 803 labelled tiles of 2448 px, 92 of them for validation; from each 16 windows of 512 px
  in a 4 x 4 grid, of which 2,000 and 257 spread evenly.
"""

import codecs
import io
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from hw1.archive.archive import EQUIVALENT, MAX_MEMBER, ORIGIN
from hw1.archive.pictures import PictureError, decode
from hw1.run.errors import InputError
from hw1.sources.network import download, require_digest
from hw1.sources.packing import Entry, entries, label_table

P1_CLASSES = 50
P1_VALIDATION = Fraction(1, 10)  # 2,500 of 25,000
OFFICE_VALIDATION = Fraction(406, 4357)
TILE_VALIDATION = Fraction(92, 803)
WINDOW, GRID = 512, 4  # px; windows a side of a tile
WINDOWS = {"train": Fraction(2000, 711 * GRID**2), "validation": Fraction(257, 92 * GRID**2)}
JPEG_QUALITY = 95  # ours; the course's is unknown
# What NumPy's arrays are made of in pickles of its versions 1 and 2, and Python 2's bytes; none of them runs code.
PICKLED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
    ("_codecs", "encode"): codecs.encode,
}


@dataclass(frozen=True)
class Original:
    """A public data set: the names under which its file or unpacked folder may lie in data.originals.

    ``digests`` by name, where one is documented; ``url`` where it may be fetched without an account or
    accepted terms; ``advice`` says how to get it.
    """

    title: str
    names: tuple[str, ...]
    advice: str
    digests: dict[str, str]
    url: str = ""
    most: int = 0


CIFAR100 = Original(
    title="CIFAR-100",
    names=("cifar-100-python.tar.gz",),
    advice="from https://www.cs.toronto.edu/~kriz/cifar.html",
    digests={"cifar-100-python.tar.gz": "md5:eb9058c3a382ffc7106e4002c42a8d85"},  # printed on that page
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    most=200 << 20,
)
MINI_IMAGENET = Original(
    title="Mini-ImageNet",
    names=("mini-imagenet.tar.gz", "mini-imagenet-cache-train.pkl"),
    advice="after accepting ImageNet's terms (https://image-net.org/download), "
    "from the link in https://github.com/renmengye/few-shot-ssl-public",
    # torchmeta, learn2learn and PaddleFSL check the same.
    digests={
        "mini-imagenet.tar.gz": "md5:b38f1eb4251fb9459ecc8e7febf9b2eb",
        "mini-imagenet-cache-train.pkl": "md5:069993a77e65a83bbf8f8de4c9dcca68",
    },
)
OFFICE_HOME = Original(
    title="Office-Home",
    names=("OfficeHomeDataset_10072016.zip", "OfficeHomeDataset_10072016"),
    advice="for research without profit, from https://www.hemanthdv.org/officeHomeDataset.html",
    digests={},
)
DEEPGLOBE = Original(
    title="DeepGlobe land cover",
    names=("land-train.zip", "land-train", "deepglobe-land-cover-classification-dataset.zip", "archive.zip"),
    advice="with an account, from https://www.kaggle.com/datasets/balraj98/deepglobe-land-cover-classification-dataset",
    digests={},
)


def public_entries(folder: Path) -> Iterator[Entry]:
    """Build every file of the archive from the originals in ``folder``, where CIFAR-100 is fetched to if absent.

    Raises:
        InputError: an original is absent (the message says where to get it and where to put it), is not the
            documented file, or does not hold what it should. All four are looked for before any is read.
    """
    builders: dict[str, Callable[[Path], Iterator[tuple[str, bytes]]]] = {
        CIFAR100.title: _p1,
        MINI_IMAGENET.title: _mini,
        OFFICE_HOME.title: _office,
        DEEPGLOBE.title: _p3,
    }
    paths = _find(folder)
    origin = {"data": EQUIVALENT, "made of": {title: path.name for title, path in paths.items()}}
    yield _entry(folder, ORIGIN, json.dumps(origin, indent=2).encode())
    for title, path in paths.items():
        print(f"{title}: {path}", file=sys.stderr)
        for name, content in builders[title](path):
            yield _entry(path, name, content)


def _entry(path: Path, name: str, content: bytes) -> Entry:
    return Entry(f"{path}: {name}", name, lambda: io.BytesIO(content))


def _find(folder: Path) -> dict[str, Path]:
    """Path of each original by its title: the first of its names that is there, else where it is fetched to."""
    originals = (CIFAR100, MINI_IMAGENET, OFFICE_HOME, DEEPGLOBE)
    paths, absent = {}, []
    for original in originals:
        path = next((folder / name for name in original.names if (folder / name).exists()), folder / original.names[0])
        paths[original.title] = path
        if path.exists():
            require_digest(path, original.digests.get(path.name, ""), str(path))
        elif not original.url:
            absent.append(f"{original.title} ({original.advice}): put {' or '.join(original.names)} there")
    if absent:
        raise InputError(f"{folder} (data.originals): missing: " + "; ".join(absent))
    for original in originals:
        path = paths[original.title]
        if not path.exists():
            download(original.url, path, original.most, original.digests[path.name])
    return paths


def spread(count: int, share: Fraction) -> list[bool]:
    """Mark floor(count x share) of ``count`` things in a row, as evenly as possible."""
    return [(index + 1) * share // 1 > index * share // 1 for index in range(count)]


def _p1(path: Path) -> Iterator[tuple[str, bytes]]:
    with _member(path, "train").open() as file:
        rows, labels = _values(file, path, data=np.ndarray, fine_labels=list)
    images, labels = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.array(labels)  # (N, 32, 32, 3), (N,)
    for label in range(P1_CLASSES):
        of_class = np.flatnonzero(labels == label)
        first = len(of_class) - int(len(of_class) * P1_VALIDATION)
        for rank, index in enumerate(of_class):
            split = "train_50" if rank < first else "val_50"
            yield f"p1_data/{split}/{label}_{index}.png", _encoded(images[index], "PNG")


def _mini(path: Path) -> Iterator[tuple[str, bytes]]:
    with open(path, "rb") if path.suffix == ".pkl" else _member(path, "mini-imagenet-cache-train.pkl").open() as file:
        images, members = _values(file, path, image_data=np.ndarray, class_dict=dict)
    labels = np.zeros(len(images), np.int64)
    for label, name in enumerate(sorted(members)):
        labels[members[name]] = label
    for index, image in enumerate(images):
        yield f"p2_data/mini/train/{index}.jpg", _encoded(image, "JPEG")
    yield "p2_data/mini/train.csv", label_table((f"{index}.jpg", int(label)) for index, label in enumerate(labels))


def _office(path: Path) -> Iterator[tuple[str, bytes]]:
    pictures = {}
    for entry in entries(path):
        parts = entry.name.split("/")
        if len(parts) >= 3 and parts[-3] in ("Real World", "RealWorld") and parts[-1].lower().endswith(".jpg"):
            pictures[parts[-2], parts[-1]] = entry
    if not pictures:
        raise InputError(f"{path}: no Real World/<class>/*.jpg in it; it is not Office-Home")
    classes = sorted({name for name, _ in pictures})
    tables: dict[str, list[tuple[str, int]]] = {"train": [], "val": []}
    for number, (taken, key) in enumerate(zip(spread(len(pictures), OFFICE_VALIDATION), sorted(pictures), strict=True)):
        split, label = "val" if taken else "train", classes.index(key[0])
        tables[split].append((f"{label}_{number}.jpg", label))
        yield f"p2_data/office/{split}/{label}_{number}.jpg", b"".join(pictures[key].chunks(MAX_MEMBER))
    for split, rows in tables.items():
        yield f"p2_data/office/{split}.csv", label_table(rows)


def _p3(path: Path) -> Iterator[tuple[str, bytes]]:
    files = {entry.name.rpartition("/")[2]: entry for entry in entries(path)}
    tiles = sorted(name.removesuffix("_mask.png") for name in files if name.endswith("_mask.png"))
    if not tiles:
        raise InputError(f"{path}: no *_mask.png in it; it is not DeepGlobe's labelled part")
    validation = spread(len(tiles), TILE_VALIDATION)
    for split, wanted in (("train", False), ("validation", True)):
        chosen = [tile for tile, taken in zip(tiles, validation, strict=True) if taken == wanted]
        taken = spread(len(chosen) * GRID**2, WINDOWS[split])
        number = 0
        for rank, tile in enumerate(chosen):
            windows = [window for window in range(GRID**2) if taken[rank * GRID**2 + window]]
            if windows:
                pictures = [_picture(files, f"{tile}_{kind}", path) for kind in ("sat.jpg", "mask.png")]
                for window in windows:
                    image, mask = (_window(picture, window) for picture in pictures)
                    yield f"p3_data/{split}/{number:04d}_sat.jpg", _encoded(image, "JPEG")
                    yield f"p3_data/{split}/{number:04d}_mask.png", _encoded(mask, "PNG")
                    number += 1


def _member(path: Path, name: str) -> Entry:
    """The file of a tar that has this name, in whatever folder."""
    for entry in entries(path):
        if entry.name.rpartition("/")[2] == name:
            return entry
    raise InputError(f"{path}: no {name} in it")


def _values(file: IO[bytes], path: Path, **kinds: type) -> list[Any]:
    table = load_plain(file, str(path))
    for key, kind in kinds.items():
        if not isinstance(table.get(key), kind):
            raise InputError(f"{path}: no {key} in it ({kind.__name__}); it is another data set")
    return [table[key] for key in kinds]


def load_plain(file: IO[bytes], what: str) -> dict[str, Any]:
    """Load the dict in a pickle without running what else it may hold; also one of Python 2, whose text becomes str.

    Raises:
        InputError: damaged, no dict, or something else than containers, numbers, text and arrays in it.
    """
    try:
        table = _PlainUnpickler(file, encoding="latin1").load()
    except Exception as error:  # unpickling damaged bytes raises whatever it meets
        raise InputError(f"{what}: not a pickle of plain arrays ({error}); it was not loaded") from None
    if not isinstance(table, dict):
        raise InputError(f"{what}: a pickle of {type(table).__name__}, not of the data set's dict")
    return table


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PICKLED:
            raise pickle.UnpicklingError(f"it would run {module}.{name}")
        return PICKLED[module, name]


def _picture(files: dict[str, Entry], name: str, path: Path) -> Image.Image:
    if name not in files:
        raise InputError(f"{path}: {name} is missing")
    try:
        picture = decode(b"".join(files[name].chunks(MAX_MEMBER)))
    except PictureError as error:
        raise InputError(f"{files[name].place}: {error}") from None
    if min(picture.size) < WINDOW:
        size = f"{picture.width} x {picture.height} px"
        raise InputError(f"{files[name].place}: {size}, smaller than {WINDOW} x {WINDOW}")
    return picture


def _window(picture: Image.Image, window: int) -> np.ndarray:
    """Window number ``window`` of the grid, row by row: (512, 512, 3) uint8."""
    row, column = divmod(window, GRID)
    top, left = (
        round(step * (side - WINDOW) / (GRID - 1)) for step, side in ((row, picture.height), (column, picture.width))
    )
    return np.asarray(picture.crop((left, top, left + WINDOW, top + WINDOW)))


def _encoded(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, quality=JPEG_QUALITY)
    return buffer.getvalue()
