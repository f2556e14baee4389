"""The course's archive, read member by member straight from the zip, with every fault named.

Layout, in whichever folder holds it: ``p1_data/{train_50,val_50}/{label}_{id}.png``, ``p2_data/mini/train/*.jpg``
(+ ``mini/train.csv``), ``p2_data/office/{train,val}/*.jpg`` with ``train.csv`` and ``val.csv``,
``p3_data/{train,validation}/{id}_{sat.jpg,mask.png}`` and, optionally, ``pretrain_model_SL.pt``. Pictures may be
JPEG, PNG, WebP, BMP or TIFF whatever their names end in, and names may differ in case. Archives that the project
makes say so in ``origin.json``.
"""

import collections
import io
import json
import lzma
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from PIL import Image

from hw1.archive import mask_colours, pictures
from hw1.archive.archive import Reading, why_left
from hw1.archive.pictures import START, PictureError, is_picture, promises_picture
from hw1.archive.spelling import PARTS, Table, TableError, class_number, few, is_hidden, plain, read_table, roots, shown
from hw1.data.arrays import GIVEN_WEIGHTS
from hw1.run.errors import InputError

MAX_MEMBER = 128 << 20  # bytes of an unpacked picture or table
MAX_WEIGHTS = 1 << 30  # bytes of unpacked weights; a ResNet50 has 0.1 billion
CHUNK = 1 << 20  # bytes unpacked at a time
ORIGIN = "origin.json"
# What results are labelled with: where their images come from.
SYNTHETIC, EQUIVALENT, GIVEN = "synthetic", "equivalent by construction", "given archive"

ENCRYPTED, UTF8 = 1 << 0, 1 << 11  # flags of a zip's member
METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "WinZip's encryption"}  # that are not read
UNPACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)

Decoded = TypeVar("Decoded")

# What zipfile and the decompressors below it raise on damaged bytes.
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, OSError, ValueError)


class Archive:
    """A zip in the course's layout. Every fault is an InputError that names the member.

    A member's name is as the layout has it, from the folder on that holds p1_data, p2_data and p3_data; where the
    archive spells it in other cases, that one is taken if it is alone.
    """

    def __init__(self, path: str | Path, called: str | Path = ""):
        """From the zip at ``path``; errors name it as ``called``, where it is a draft or a copy of that."""
        self.path = Path(called or path)
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise InputError(f"{path}: no such archive; run `dvc repro download`") from None
        except DAMAGE as error:
            raise InputError(f"{path}: not a whole zip file ({error}); get the archive again") from None
        entries = collections.defaultdict(list)
        for entry in self._zip.infolist():
            if not entry.filename.endswith(("/", "\\")):
                entries[plain(_name(entry)) or entry.filename].append(entry)
        self.root = self._find_root(entries)
        inside = (name for name in entries if name.startswith(self.root))
        self._members = {name.removeprefix(self.root): entries[name] for name in sorted(inside)}
        self.outside = [name for name in sorted(entries) if not self._is_part(name)]
        self._spelt = collections.defaultdict(list)
        self._folders: dict[str, list[str]] = collections.defaultdict(list)
        for member in self._members:
            self._spelt[member.lower()].append(member)
            self._folders[posixpath.dirname(member).lower()].append(member)
        self._used: set[str] = set()

    def _find_root(self, names: Iterable[str]) -> str:
        found = roots(names)
        if len(found) > 1:
            folders = few([folder.rstrip("/") or "the top" for folder in found])
            raise InputError(
                f"{self.path}: p1_data, p2_data or p3_data lie in {len(found)} folders ({folders}); "
                "leave those of one in it"
            )
        alone = "hw1_data/" if any(name.startswith("hw1_data/") for name in names) else ""
        return found[0] if found else alone

    def _is_part(self, name: str) -> bool:
        """Whether a file is in the course's folders, or one of the two that lie beside them."""
        member = name.removeprefix(self.root) if name.startswith(self.root) else ""
        top, _, below = member.partition("/")
        return top.lower() in PARTS if below else member.lower() in (ORIGIN, GIVEN_WEIGHTS.lower())

    def __contains__(self, member: str) -> bool:
        return self._find(member) in self._members

    def _find(self, member: str) -> str:
        """The archive's spelling of a member."""
        spelt = self._spelt.get(member.lower(), ())
        return spelt[0] if member not in self._members and len(spelt) == 1 else member

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

    @property
    def weights(self) -> str | None:
        """The member that is the course's supervised backbone, wherever it lies; None where there is none.

        Raises:
            InputError: there are several.
        """
        named = GIVEN_WEIGHTS.lower()
        found = [member for member in self._members if posixpath.basename(member).lower() == named]
        found = [member for member in found if not is_hidden(member)]
        if len(found) > 1:
            raise InputError(f"{self.path}: {few(found)}: two supervised backbones; leave one of them in the archive")
        return found[0] if found else None

    def members(self) -> list[str]:
        """Everything in the folder of the layout, sorted."""
        return list(self._members)

    def pictures(self, folder: str) -> list[str]:
        """Sorted members directly in ``folder`` that are pictures, by their names or their content; at least one."""
        there = self._folders.get(folder.lower(), [])
        spelt = sorted({posixpath.dirname(member) for member in there})
        if len(spelt) > 1:
            raise self.fault(
                folder, f"there are {' and '.join(map(shown, spelt))}, which differ in case alone; join them"
            )
        found = [member for member in there if not is_hidden(member) and self._is_picture(member)]
        if not found:
            raise self.fault(folder, f"no pictures; the archive must hold them there{self._instead(folder)}")
        return found

    def _is_picture(self, member: str) -> bool:
        if promises_picture(member):
            return True
        try:
            return is_picture(self._start(member))
        except InputError:  # what cannot be unpacked is left out, as it does not promise to be one
            return False

    def _start(self, member: str) -> bytes:
        return next(self._chunks(self._entry(member, MAX_MEMBER), member, START), b"")

    def _instead(self, folder: str) -> str:
        """What there is in the place of the pictures that are missing."""
        there = self._folders.get(folder.lower(), [])
        below = [member for member in self._members if member.lower().startswith(f"{folder.lower()}/")]
        if below:
            kind = "files that are none" if there else "folders with files"
            return f"; it has {kind}, such as {shown((there or below)[0])}"
        tops = sorted({member.split("/")[0] for member in self._members})
        return f"; it has {few(tops)}" if tops else "; it is empty"

    def reading(self, folder: str, apart: str = "") -> Reading:
        """What of a folder was not read until now, but for what lies in the folder ``apart``."""
        inside, outside = f"{folder}/".lower(), f"{apart}/".lower() if apart else "\0"
        read_from = {posixpath.dirname(member) for member in self._used}
        return Reading(
            left_out={
                member: why_left(member, posixpath.dirname(member) in read_from)
                for member in self._members.keys() - self._used
                if member.lower().startswith(inside) and not member.lower().startswith(outside)
            }
        )

    def fault(self, member: str, what: str) -> InputError:
        return InputError(f"{self.path}: {shown(f'{self.root}{self._find(member)}')}: {what}")

    def read(self, member: str) -> bytes:
        """The unpacked bytes of a picture or table, at most MAX_MEMBER."""
        buffer = io.BytesIO()
        self._unpack(member, buffer, MAX_MEMBER)
        return buffer.getvalue()

    def copy_weights(self, member: str, path: Path) -> None:
        """Unpack a member of at most MAX_WEIGHTS to ``path``."""
        with open(path, "wb") as file:
            self._unpack(member, file, MAX_WEIGHTS)

    def identity(self, member: str) -> tuple[int, int]:
        """Length and CRC-32 of a member's bytes, from the table of contents alone."""
        entry = self._entry(member, MAX_WEIGHTS)
        return entry.file_size, entry.CRC

    def _unpack(self, member: str, into: IO[bytes], most: int) -> None:
        entry = self._entry(member, most)
        self._used.add(self._find(member))
        for chunk in self._chunks(entry, member):
            into.write(chunk)

    def _entry(self, member: str, most: int) -> zipfile.ZipInfo:
        """The zip's own record of a member that can be unpacked."""
        found = self._members.get(self._find(member), ())
        if not found:
            raise self.fault(member, f"missing in the archive{self._misspelt(member)}")
        if len(found) > 1:
            raise self.fault(member, "stands twice in the archive; pack it with one of them")
        (entry,) = found
        if entry.flag_bits & ENCRYPTED:
            raise self.fault(member, "is encrypted; pack the archive again without a password")
        if entry.compress_type not in UNPACKED:
            method = METHODS.get(entry.compress_type, f"method {entry.compress_type}")
            raise self.fault(
                member,
                f"is packed by {method}, which is not read; pack the archive again by Deflate, "
                "or unpack it and give the folder",
            )
        if entry.file_size > most:  # zipfile unpacks no more than it declares
            raise self.fault(member, f"unpacks to {entry.file_size:,} bytes, at most {most:,} are read")
        return entry

    def _misspelt(self, member: str) -> str:
        spelt = self._spelt.get(member.lower(), ())
        return f"; it has {few(spelt)}: leave one of them" if len(spelt) > 1 else ""

    def _chunks(self, entry: zipfile.ZipInfo, member: str, size: int = CHUNK) -> Iterator[bytes]:
        try:
            with self._zip.open(entry) as packed:
                yield from iter(partial(packed.read, size), b"")
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
        return self._decoded(member, mask_colours.decode_mask)

    def table(self, member: str) -> Table:
        """A table of file names and labels (:func:`hw1.archive.spelling.read_table`)."""
        try:
            return read_table(self.read(member), ("filename", "label"))
        except TableError as error:
            raise self.fault(member, str(error)) from None

    def label(self, text: str, where: str) -> int:
        """The class that ``text`` names."""
        try:
            return class_number(text)
        except TableError as error:
            raise self.fault(where, str(error)) from None

    def _decoded(self, member: str, decode: Callable[[bytes], Decoded]) -> Decoded:
        try:
            return decode(self.read(member))
        except PictureError as error:
            raise self.fault(member, str(error)) from None


def _name(entry: zipfile.ZipInfo) -> str:
    """As it was meant: macOS writes UTF-8 without the flag that says so, which zipfile takes for DOS's letters."""
    if not entry.flag_bits & UTF8:
        try:
            return entry.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return entry.filename
