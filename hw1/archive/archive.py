"""The course's archive, read member by member straight from the zip, with every fault named.

Layout, under ``hw1_data/`` or at the top: ``p1_data/{train_50,val_50}/{label}_{id}.png``,
``p2_data/mini/train/*.jpg`` (+ ``mini/train.csv``), ``p2_data/office/{train,val}/*.jpg`` with
``train.csv`` and ``val.csv``, ``p3_data/{train,validation}/{id}_{sat.jpg,mask.png}`` and,
optionally, ``pretrain_model_SL.pt``. Archives that the project makes say so in ``origin.json``.
"""

import collections
import io
import json
import lzma
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from PIL import Image

from hw1.archive import pictures
from hw1.archive.pictures import PictureError
from hw1.archive.tables import TableError, class_number, read_rows
from hw1.run.errors import InputError

MAX_MEMBER = 128 << 20  # bytes of an unpacked picture or table
MAX_WEIGHTS = 1 << 30  # bytes of unpacked weights; a ResNet50 has 0.1 billion
CHUNK = 1 << 20  # bytes unpacked at a time
ORIGIN = "origin.json"
# What results are labelled with: where their images come from.
SYNTHETIC, EQUIVALENT, GIVEN = "synthetic", "equivalent by construction", "given archive"

Decoded = TypeVar("Decoded")

# What zipfile and the decompressors below it raise on damaged bytes.
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, OSError, ValueError)


class Archive:
    """A zip in the course's layout. Every fault is an InputError that names the member."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise InputError(f"{path}: no such archive; run `dvc repro download`") from None
        except DAMAGE as error:
            raise InputError(f"{path}: not a whole zip file ({error}); get the archive again") from None
        names = [name for name in self._zip.namelist() if not name.startswith("__MACOSX/")]
        self._root = "hw1_data/" if any(name.startswith("hw1_data/") for name in names) else ""
        inside = (name for name in names if name.startswith(self._root) and not name.endswith("/"))
        self._members = collections.Counter(name.removeprefix(self._root) for name in inside)

    def __contains__(self, member: str) -> bool:
        return member in self._members

    @property
    def origin(self) -> str:
        """SYNTHETIC or EQUIVALENT where the archive says so, else GIVEN."""
        if ORIGIN not in self:
            return GIVEN
        try:
            origin = json.loads(self.read(ORIGIN))["data"]
        except (ValueError, TypeError, KeyError, RecursionError):  # a file of the user's own
            return GIVEN
        return origin if origin in (SYNTHETIC, EQUIVALENT) else GIVEN

    def members(self, folder: str, suffix: str) -> list[str]:
        """Sorted members directly in ``folder`` whose name ends in ``suffix``; at least one."""
        found = sorted(
            member
            for member in self._members
            if posixpath.dirname(member) == folder
            and member.lower().endswith(suffix)
            and not posixpath.basename(member).startswith(".")
        )
        if not found:
            raise self.fault(folder, f"no {suffix} files; the archive must hold them there")
        return found

    def fault(self, member: str, what: str) -> InputError:
        name = f"{self._root}{member}"
        return InputError(f"{self.path}: {name if name.isprintable() else ascii(name)}: {what}")

    def read(self, member: str) -> bytes:
        """The unpacked bytes of a picture or table, at most MAX_MEMBER."""
        buffer = io.BytesIO()
        self._unpack(member, buffer, MAX_MEMBER)
        return buffer.getvalue()

    def copy_weights(self, member: str, path: Path) -> None:
        """Unpack a member of at most MAX_WEIGHTS to ``path``."""
        with open(path, "wb") as file:
            self._unpack(member, file, MAX_WEIGHTS)

    def _unpack(self, member: str, into: IO[bytes], most: int) -> None:
        if member not in self._members:
            raise self.fault(member, "missing in the archive")
        if self._members[member] > 1:
            raise self.fault(member, "stands twice in the archive; pack it with one of them")
        entry = self._zip.getinfo(self._root + member)
        if entry.file_size > most:  # zipfile unpacks no more than it declares
            raise self.fault(member, f"unpacks to {entry.file_size:,} bytes, at most {most:,} are read")
        for chunk in self._chunks(entry, member):
            into.write(chunk)

    def _chunks(self, entry: zipfile.ZipInfo, member: str) -> Iterator[bytes]:
        try:
            with self._zip.open(entry) as packed:
                yield from iter(partial(packed.read, CHUNK), b"")
        except DAMAGE as error:
            raise self.fault(member, f"cannot be unpacked ({error}); get the archive again") from None

    def image(self, member: str) -> Image.Image:
        """The decoded picture in RGB (:func:`hw1.archive.pictures.decode`)."""
        return self._decoded(member, pictures.decode)

    def image_size(self, member: str) -> tuple[int, int]:
        """Width and height in pixels, from the header alone."""
        return self._decoded(member, pictures.size)

    def mask(self, member: str) -> np.ndarray:
        """Classes of a colour mask: (H, W) uint8, 0 to 6 in the order of LAND_COVER."""
        return self._decoded(member, pictures.decode_mask)

    def _decoded(self, member: str, decode: Callable[[bytes], Decoded]) -> Decoded:
        try:
            return decode(self.read(member))
        except PictureError as error:
            raise self.fault(member, str(error)) from None

    def table(self, member: str) -> dict[str, int]:
        """File name -> label of a csv with the header ``id,filename,label``."""
        try:
            rows = read_rows(self.read(member), ("filename", "label"))
        except TableError as error:
            raise self.fault(member, str(error)) from None
        return {row.filename: self.label(row.label, f"{member}, line {row.line}") for row in rows}

    def label(self, text: str, where: str) -> int:
        """The class that ``text`` names."""
        try:
            return class_number(text)
        except TableError as error:
            raise self.fault(where, str(error)) from None
