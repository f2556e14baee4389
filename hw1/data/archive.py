"""The course's archive, read member by member straight from the zip, with every fault named.

Layout, under ``hw1_data/`` or at the top: ``p1_data/{train_50,val_50}/{label}_{id}.png``,
``p2_data/mini/train/*.jpg`` (+ ``mini/train.csv``), ``p2_data/office/{train,val}/*.jpg`` with
``train.csv`` and ``val.csv``, ``p3_data/{train,validation}/{id}_{sat.jpg,mask.png}`` and,
optionally, ``pretrain_model_SL.pt``.
"""

import csv
import io
import posixpath
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from hw1.data.classes import CLASS_OF_CODE, NO_CLASS
from hw1.errors import InputError

# Pillow refuses huge pictures with an error and merely warns of large ones: refuse both.
warnings.simplefilter("error", Image.DecompressionBombWarning)


class Archive:
    """A zip in the course's layout. Every fault is an InputError that names the member."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise InputError(f"{path}: no such archive; run `dvc repro download`") from None
        except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
            raise InputError(f"{path}: not a whole zip file ({error}); get the archive again") from None
        names = [name for name in self._zip.namelist() if not name.startswith("__MACOSX/")]
        self._root = "hw1_data/" if any(name.startswith("hw1_data/") for name in names) else ""
        inside = (name for name in names if name.startswith(self._root) and not name.endswith("/"))
        self._members = {name.removeprefix(self._root) for name in inside}

    def __contains__(self, member: str) -> bool:
        return member in self._members

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
        return InputError(f"{self.path}: {self._root}{member}: {what}")

    def read(self, member: str) -> bytes:
        if member not in self._members:
            raise self.fault(member, "missing in the archive")
        try:
            return self._zip.read(self._root + member)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
            raise self.fault(member, f"cannot be unpacked ({error}); get the archive again") from None

    def image(self, member: str) -> Image.Image:
        """The decoded picture in RGB; greyscale, palette and alpha pictures are converted."""
        try:
            return self._open(member).convert("RGB")
        except (OSError, SyntaxError, ValueError):
            raise self.fault(member, "not a whole JPEG or PNG picture; replace or remove it") from None

    def image_size(self, member: str) -> tuple[int, int]:
        """Width and height in pixels, from the header alone."""
        return self._open(member).size

    def _open(self, member: str) -> Image.Image:
        data = self.read(member)
        try:
            return Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise self.fault(member, "not a JPEG or PNG picture; replace or remove it") from None

    def mask(self, member: str) -> np.ndarray:
        """Classes of a colour mask: (H, W) uint8, 0 to 6 in the order of LAND_COVER."""
        bits = np.asarray(self.image(member)) >= 128  # (H, W, 3)
        classes = CLASS_OF_CODE[bits @ np.array([4, 2, 1])]
        wrong = np.argwhere(classes == NO_CLASS)
        if len(wrong):
            row, column = wrong[0]
            raise self.fault(member, f"red pixel at row {row}, column {column}: red is the colour of no class")
        return classes

    def table(self, member: str) -> dict[str, int]:
        """File name -> label of a csv with the header ``id,filename,label``."""
        try:
            text = self.read(member).decode("utf-8-sig")
            reader = csv.DictReader(io.StringIO(text, newline=""))
            rows = [(reader.line_num, row) for row in reader]
        except UnicodeDecodeError:
            raise self.fault(member, "not UTF-8 text") from None
        except csv.Error as error:
            raise self.fault(member, f"not a csv table ({error})") from None
        if not {"filename", "label"} <= set(reader.fieldnames or ()):
            raise self.fault(member, "its first line must be the header id,filename,label")
        labels: dict[str, int] = {}
        for line, row in rows:
            if not row["filename"] or row["filename"] in labels:
                raise self.fault(member, f"line {line}: file name {row['filename']!r} is empty or stands twice")
            labels[row["filename"]] = self.label(row["label"] or "", f"{member}, line {line}")
        return labels

    def label(self, text: str, where: str) -> int:
        if not (text.isascii() and text.isdigit()):
            raise self.fault(where, f"label {text!r} is not a class number (0, 1, 2, ...)")
        return int(text)
