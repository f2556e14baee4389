"""Pictures that commands read, decoded by all cores a bounded way ahead, and places that they may write to."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from hw1.archive.archive import ELSEWHERE, HIDDEN, MAX_MEMBER, NO_PICTURE, Reading
from hw1.archive.pictures import START, PictureError, decode, in_threads, is_picture, promises_picture
from hw1.archive.spelling import few, is_hidden, shown
from hw1.run.errors import InputError

CHUNK = 8  # pictures a thread decodes at a time


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

    def __init__(self, resize: Callable[[Image.Image], np.ndarray]):
        self._resize = resize
        self.images = self.faults = 0

    def batches(self, paths: Sequence[Path], size: int) -> Iterator[list[Picture]]:
        """The pictures that can be read, ``size`` at a time, with a progress bar on a terminal."""
        pictures = self._pictures(paths)
        while batch := list(islice(pictures, size)):
            yield batch

    def _pictures(self, paths: Sequence[Path]) -> Iterator[Picture]:
        for picture in tqdm(
            in_threads(self._read, enumerate(paths), CHUNK), total=len(paths), unit=" images", disable=None
        ):
            self.images += 1
            if isinstance(picture, Picture):
                yield picture
            else:
                self.faults += 1
                self.tell(str(picture))

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
    pictures, left_out = [], {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() or is_hidden(path.name):
            left_out[path.name] = ELSEWHERE if path.is_dir() else HIDDEN
        elif promises_picture(path.name) or is_picture(_start(path)):
            pictures.append(path)
        else:
            left_out[path.name] = NO_PICTURE
    if len(pictures) < least:
        others = f"; it holds {few(sorted(left_out))}" if left_out else ", it is empty"
        raise InputError(f"{folder}: no pictures in it{others}")
    return pictures, Reading({"pictures": len(pictures)}, left_out)


def _start(path: Path) -> bytes:
    """The first bytes of a regular file that can be opened."""
    with suppress(OSError):
        if path.is_file():  # a pipe would be waited for
            with open(path, "rb") as file:
                return file.read(START)
    return b""


def require_file_place(out: Path, source: Path | None = None) -> None:
    """InputError unless a file can be put at ``out`` that is not the ``source``."""
    if not out.name or out.is_dir():
        raise InputError(f"{out}: a folder; give the name of the file to write")
    _require_place(out, source)


def require_folder_place(out: Path, source: Path | None = None) -> None:
    """InputError unless ``out`` is or can become a folder that is not the ``source``."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: no folder, so nothing can be written into it")
    _require_place(out, source)


def require_new_folder(out: Path) -> None:
    """InputError unless a folder can be made at ``out``, where nothing is yet, or an empty one."""
    if not out.name or out.is_symlink() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out}: something lies there; give the name of a new folder, or remove it")
    require_folder_place(out)


def _require_place(out: Path, source: Path | None) -> None:
    if source and source.exists() and out.exists() and out.samefile(source):
        raise InputError(f"{out}: would be written over what is read; give another name")
    existing = next((part for part in out.parents if part.exists()), Path())
    if not existing.is_dir():
        raise InputError(f"{existing}: no folder, so nothing can be written into it")
