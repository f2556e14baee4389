"""The course's archive, read member by member straight from the zip, with every fault named.

Layout, in whichever folder holds it: ``p1_data/{train_50,val_50}/{label}_{id}.png``, ``p2_data/mini/train/*.jpg``
(+ ``mini/train.csv``), ``p2_data/office/{train,val}/*.jpg`` with ``train.csv`` and ``val.csv``,
``p3_data/{train,validation}/{id}_{sat.jpg,mask.png}`` and, optionally, ``pretrain_model_SL.pt``. Pictures may be
JPEG, PNG, WebP, BMP or TIFF whatever their names end in, and names may differ in case. Archives that the project
makes say so in ``origin.json``.
"""

import collections
import json
import lzma
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from hw1.archive.pictures import START, PictureError, decode, decode_mask, is_picture, opened, promises_picture
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

# Why a file was left out.
NO_PICTURE = "no JPEG, PNG, WebP, BMP or TIFF picture"
NO_PAIR = "neither a tile {id}_sat nor a mask {id}_mask"
HIDDEN = "hidden, or a system's own"
ELSEWHERE = "not where the layout has files"

Decoded = TypeVar("Decoded")

# What zipfile and the decompressors below it raise on damaged bytes.
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, OSError, ValueError)


@dataclass
class Reading:
    """Counts of what was read, by what it is; why each file was left out, by its name; and what else must be told."""

    read: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """Line with which a command ends."""
        read = ", ".join(f"{count:,} {what}" for what, count in self.read.items()) or "nothing"
        return "; ".join([f"read {read}", *self.notes, *(self.reasons() or ["nothing left out"])])

    def reasons(self) -> list[str]:
        """Word for each reason how many files were left out, and the first few."""
        names = collections.defaultdict(list)
        for name, why in sorted(self.left_out.items()):
            names[why].append(name)
        return [f"left out {len(files):,} ({why}): {few(files)}" for why, files in names.items()]

    def save(self, path: Path) -> None:
        """Write as JSON: ``read``, ``notes``, and ``left_out`` in words, as a set of sixty thousand may be left out."""
        record = {"read": self.read, "left_out": len(self.left_out), "notes": [*self.notes, *self.reasons()]}
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


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
        inside = (name for name in sorted(entries) if name.startswith(self.root))
        self._members = {name.removeprefix(self.root): entries[name] for name in inside}
        self.outside = [name for name in sorted(entries) if not self._is_part(name)]
        self._spelt = collections.defaultdict(list)
        self._folders: dict[str, list[str]] = collections.defaultdict(list)
        for member in self._members:
            self._spelt[member.lower()].append(member)
            self._folders[posixpath.dirname(member).lower()].append(member)
        self._used: set[str] = set()

    def _find_root(self, names: Iterable[str]) -> str:
        places = roots(names)
        if not places:
            return "hw1_data/" if any(name.startswith("hw1_data/") for name in names) else ""
        if len(places) > 1:
            folders = few([folder.rstrip("/") or "the top" for folder in places])
            several = f"p1_data, p2_data or p3_data lie in {len(places)} folders ({folders})"
            raise InputError(f"{self.path}: {several}; leave those of one in it")
        return places[0]

    def _is_part(self, name: str) -> bool:
        """Tell whether a file is in the course's folders, or one of the two that lie beside them."""
        member = name.removeprefix(self.root) if name.startswith(self.root) else ""
        top, _, below = member.partition("/")
        return top.lower() in PARTS if below else member.lower() in (ORIGIN, GIVEN_WEIGHTS.lower())

    def __contains__(self, member: str) -> bool:
        return self._find(member) in self._members

    def _find(self, member: str) -> str:
        """Find the archive's spelling of a member."""
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
        members = [
            member
            for member in self._members
            if posixpath.basename(member).lower() == GIVEN_WEIGHTS.lower() and not is_hidden(member)
        ]
        if len(members) > 1:
            raise InputError(f"{self.path}: {few(members)}: two supervised backbones; leave one of them in the archive")
        return members[0] if members else None

    def __len__(self) -> int:
        return len(self._members)

    def pictures(self, folder: str) -> list[str]:
        """Sorted members directly in ``folder`` that are pictures, by their names or their content; at least one."""
        files = self._folders.get(folder.lower(), [])
        spelt = sorted({posixpath.dirname(member) for member in files})
        if len(spelt) > 1:
            several = " and ".join(map(shown, spelt))
            raise self.fault(folder, f"there are {several}, which differ in case alone; join them")
        pictures = [member for member in files if not is_hidden(member) and self._is_picture(member)]
        if not pictures:
            raise self.fault(folder, f"no pictures; the archive must hold them there; {self._instead(folder, files)}")
        return pictures

    def _is_picture(self, member: str) -> bool:
        try:
            return promises_picture(member) or is_picture(next(self._chunks(member, MAX_MEMBER, START), b""))
        except InputError:  # what cannot be unpacked is left out, as it does not promise to be one
            return False

    def _instead(self, folder: str, files: list[str]) -> str:
        below = [member for member in self._members if member.lower().startswith(f"{folder.lower()}/")]
        if below:
            kind = "files that are none" if files else "folders with files"
            return f"it has {kind}, such as {shown((files or below)[0])}"
        tops = sorted({member.split("/")[0] for member in self._members})
        return f"it has {few(tops)}" if tops else "it is empty"

    def reading(self, folder: str, apart: str = "") -> Reading:
        """Report what of a folder was not read until now, but for what lies in the folder ``apart``."""
        read_from = {posixpath.dirname(member) for member in self._used}
        left_out = {}
        for member in self._members.keys() - self._used:
            name = member.lower()
            if name.startswith(f"{folder}/") and not (apart and name.startswith(f"{apart}/")):
                beside = NO_PICTURE if posixpath.dirname(member) in read_from else ELSEWHERE
                left_out[member] = HIDDEN if is_hidden(member) else beside
        return Reading(left_out=left_out)

    def fault(self, member: str, what: str) -> InputError:
        return InputError(f"{self.path}: {shown(f'{self.root}{self._find(member)}')}: {what}")

    def read(self, member: str) -> bytes:
        """Unpack a picture or table of at most MAX_MEMBER bytes."""
        content = b"".join(self._chunks(member, MAX_MEMBER))
        self._used.add(self._find(member))
        return content

    def copy_weights(self, member: str, path: Path) -> None:
        """Unpack a member of at most MAX_WEIGHTS to ``path``."""
        with open(path, "wb") as file:
            file.writelines(self._chunks(member, MAX_WEIGHTS))
        self._used.add(self._find(member))

    def identity(self, member: str) -> tuple[int, int]:
        """Length and CRC-32 of a member's bytes, from the table of contents alone."""
        entry = self._entry(member, MAX_WEIGHTS)
        return entry.file_size, entry.CRC

    def _entry(self, member: str, most: int) -> zipfile.ZipInfo:
        """Find the zip's own record of a member that can be unpacked."""
        entries = self._members.get(self._find(member), ())
        spelt = self._spelt.get(member.lower(), ())
        if not entries:
            several = f"; it has {few(spelt)}: leave one of them" if spelt else ""
            raise self.fault(member, f"missing in the archive{several}")
        if len(entries) > 1:
            raise self.fault(member, "stands twice in the archive; pack it with one of them")
        (entry,) = entries
        if entry.flag_bits & ENCRYPTED:
            raise self.fault(member, "is encrypted; pack the archive again without a password")
        if entry.compress_type not in UNPACKED:
            method = METHODS.get(entry.compress_type, f"method {entry.compress_type}")
            advice = "pack the archive again by Deflate, or unpack it and give the folder"
            raise self.fault(member, f"is packed by {method}, which is not read; {advice}")
        if entry.file_size > most:  # zipfile unpacks no more than it declares
            raise self.fault(member, f"unpacks to {entry.file_size:,} bytes, at most {most:,} are read")
        return entry

    def _chunks(self, member: str, most: int, size: int = CHUNK) -> Iterator[bytes]:
        entry = self._entry(member, most)
        try:
            with self._zip.open(entry) as packed:
                yield from iter(partial(packed.read, size), b"")
        except DAMAGE as error:
            raise self.fault(member, f"cannot be unpacked ({error}); get the archive again") from None

    def image(self, member: str) -> Image.Image:
        """Decode a picture to RGB (:func:`hw1.archive.pictures.decode`)."""
        return self._decoded(member, decode)

    def image_size(self, member: str) -> tuple[int, int]:
        """Width and height in pixels, from the header alone."""
        return self._decoded(member, lambda content: opened(content).size)

    def mask(self, member: str) -> np.ndarray:
        """Decode a colour mask to classes: (H, W) uint8, 0 to 6 in the order of LAND_COVER."""
        return self._decoded(member, decode_mask)

    def table(self, member: str) -> Table:
        """Read a table of file names and labels (:func:`hw1.archive.spelling.read_table`)."""
        return self._decoded(member, lambda content: read_table(content, ("filename", "label")))

    def _decoded(self, member: str, decode: Callable[[bytes], Decoded]) -> Decoded:
        content = self.read(member)
        try:
            return decode(content)
        except (PictureError, TableError) as error:
            raise self.fault(member, str(error)) from None

    def label(self, text: str, where: str) -> int:
        """Read the class that ``text`` names."""
        try:
            return class_number(text)
        except TableError as error:
            raise self.fault(where, str(error)) from None


def _name(entry: zipfile.ZipInfo) -> str:
    """Decode a name as it was meant: macOS writes UTF-8 without its flag, zipfile takes that for DOS's."""
    if not entry.flag_bits & UTF8:
        try:
            return entry.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return entry.filename
