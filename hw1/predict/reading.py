"""Pictures of files, decoded by all cores a bounded way ahead, in order; what cannot be read is named."""

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from hw1.archive.archive import ELSEWHERE, HIDDEN, MAX_MEMBER, NO_PICTURE, Reading
from hw1.archive.pictures import START, PictureError, decode, in_threads, is_picture, promises_picture
from hw1.archive.spelling import few, is_hidden, shown
from hw1.run.errors import InputError

CHUNK = 8  # pictures a thread decodes at a time

Resize = Callable[[Image.Image], np.ndarray]


@dataclass(frozen=True)
class Picture:
    """A picture as the network wants it stored, (S, S, 3) uint8, and the height and width of its own.

    ``index`` is its place among the paths that are read.
    """

    index: int
    path: Path
    pixels: np.ndarray
    shape: tuple[int, int]


class Reader:
    """Reads files; counts in ``images`` and ``faults``, names each fault on stderr and goes on."""

    def __init__(self, resize: Resize):
        self._resize = resize
        self.images = self.faults = 0

    def batches(self, paths: Sequence[Path], size: int) -> Iterator[list[Picture]]:
        """The pictures that can be read, ``size`` at a time, with a progress bar on a terminal."""
        batch: list[Picture] = []
        with tqdm(total=len(paths), unit=" images", disable=None) as bar:
            for picture in in_threads(self._read, enumerate(paths), CHUNK):
                self.images += 1
                bar.update()
                if isinstance(picture, PictureError):
                    self.faults += 1
                    self.tell(str(picture))
                    continue
                batch.append(picture)
                if len(batch) == size:
                    yield batch
                    batch = []
            if batch:
                yield batch

    def tell(self, text: str) -> None:
        """A line on stderr that leaves the progress bar whole."""
        tqdm.write(text, file=sys.stderr)

    def require_some(self) -> None:
        """InputError if not one picture could be read, as with a wrong folder."""
        if self.faults == self.images:
            raise InputError(f"none of the {self.images} images could be read; nothing is written")

    def _read(self, numbered: tuple[int, Path]) -> Picture | PictureError:
        index, path = numbered
        try:
            picture = decode(read_bytes(path))
        except PictureError as error:
            return PictureError(f"{shown(str(path))}: {error}")
        return Picture(index, path, self._resize(picture), (picture.height, picture.width))


def read_bytes(path: Path) -> bytes:
    """A regular file's bytes; PictureError for what is none, cannot be opened, or has more than MAX_MEMBER."""
    try:
        if not path.is_file():  # a pipe would be waited for
            raise PictureError("no such file")
        with open(path, "rb") as file:
            content = file.read(MAX_MEMBER + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that holds a zero byte
        raise PictureError(getattr(error, "strerror", None) or str(error)) from None
    if len(content) > MAX_MEMBER:
        raise PictureError(f"more than {MAX_MEMBER:,} bytes, which are all that is read")
    return content


def pictures_in(folder: Path, least: int = 1) -> tuple[list[Path], Reading]:
    """Sorted pictures directly in ``folder``, by their names or their content, and what else there is.

    Raises:
        InputError: no such folder, or fewer than ``least`` pictures in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found, left = [], {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() or is_hidden(path.name):
            left[path.name] = ELSEWHERE if path.is_dir() else HIDDEN
        elif promises_picture(path.name) or is_picture(_start(path)):
            found.append(path)
        else:
            left[path.name] = NO_PICTURE
    if len(found) < least:
        there = f"; it holds {few(sorted(left))}" if left else ", it is empty"
        raise InputError(f"{folder}: no pictures in it{there}")
    return found, Reading({"pictures": len(found)}, left)


def _start(path: Path) -> bytes:
    """The first bytes of a regular file that can be opened."""
    try:
        with open(path, "rb") if path.is_file() else io.BytesIO() as file:
            return file.read(START)
    except OSError:
        return b""
