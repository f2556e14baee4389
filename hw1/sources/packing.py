"""Files of a zip, a tar or a folder, one by one, and a zip made of such files.

Nothing is unpacked to a path of its own: names stay names. What is no regular file is refused, no file is
larger than the archive's reader takes, and the same files give the same bytes.
"""

import csv
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hw1.archive.archive import CHUNK, DAMAGE, MAX_MEMBER, MAX_WEIGHTS
from hw1.archive.spelling import shown
from hw1.data.arrays import GIVEN_WEIGHTS
from hw1.run.errors import InputError

TAR_DAMAGE = (tarfile.TarError, *DAMAGE)
# What else people give, by its first bytes, letters in lower case.
OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"version https://": "a pointer of Git LFS",
}


@dataclass(frozen=True)
class Entry:
    """A file: its ``place`` for errors, its ``name`` with slashes, and how its bytes are reached."""

    place: str
    name: str
    open: Callable[[], IO[bytes]]

    def chunks(self, most: int) -> Iterator[bytes]:
        """Its bytes, at most ``most``; InputError for more, or where the zip or tar around it is damaged."""
        size = 0
        try:
            with self.open() as file:
                while chunk := file.read(CHUNK):
                    size += len(chunk)
                    if size > most:
                        raise InputError(f"{self.place}: more than {most:,} bytes, which are all that is read")
                    yield chunk
        except TAR_DAMAGE as error:
            if isinstance(error, OSError) and error.filename:  # a file of its own: its permissions
                raise
            raise InputError(f"{self.place}: cannot be read ({error}); get it again") from None


def pack(entries: Iterable[Entry], draft: Path) -> None:
    """Write a zip of the entries as they come, stored as they are, without times.

    Raises:
        InputError: a name that no zip can hold faithfully, twice the same name, or a file too large.
    """
    with zipfile.ZipFile(draft, "w") as archive:
        for entry in entries:
            append(archive, entry)


def append(archive: zipfile.ZipFile, entry: Entry) -> None:
    """Add one entry to a zip that is being written, or was opened to append to."""
    if not entry.name.isprintable():  # bytes that are no UTF-8, line breaks
        raise InputError(f"{entry.place}: a file name of unprintable characters; rename or remove it")
    if entry.name in archive.NameToInfo:
        raise InputError(f"{entry.place}: the archive has a file of this name already; leave one of them out")
    most = MAX_WEIGHTS if entry.name.rpartition("/")[2] == GIVEN_WEIGHTS else MAX_MEMBER
    with archive.open(zipfile.ZipInfo(entry.name), "w", force_zip64=True) as member:
        for chunk in entry.chunks(most):
            member.write(chunk)


def label_table(rows: Iterable[tuple[str, int]]) -> bytes:
    """Encode file names and labels as the course's csv of ``id,filename,label``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "filename", "label"))
    writer.writerows((index, *row) for index, row in enumerate(rows))
    return text.getvalue().encode()


def entries(path: Path, left_out: list[str] | None = None) -> Iterator[Entry]:
    """List the regular files of a zip or tar in its own order, or of a folder in sorted order, links followed.

    Hidden files and folders of a folder are left out, and join ``left_out``. Entries stay readable after the last.

    Raises:
        InputError: neither of the three, a damaged one, or something in it that is no file.
    """
    if path.is_dir():
        return _of_folder(path, path, (), [] if left_out is None else left_out)
    if zipfile.is_zipfile(path):
        return _of_zip(path)
    if tarfile.is_tarfile(path):
        return _of_tar(path)
    with open(path, "rb") as file:
        start = file.read(16).lower()
    for signature, kind in OTHERS.items():
        if start.startswith(signature):
            raise InputError(f"{path}: {kind}, which is not read; unpack it and give the folder, or pack it as zip")
    raise InputError(f"{path}: not a whole zip or tar file; get it again")


def _of_zip(path: Path) -> Iterator[Entry]:
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGE as error:
        raise InputError(f"{path}: not a whole zip file ({error}); get it again") from None
    for member in archive.infolist():
        if not member.is_dir():
            name = member.filename
            yield Entry(f"{path}: {shown(name)}", name, lambda member=member: archive.open(member))


def _of_tar(path: Path) -> Iterator[Entry]:
    archive = tarfile.open(path)  # noqa: SIM115 (the entries read from it later)
    while (member := _next_member(archive, path)) is not None:
        place = f"{path}: {shown(member.name)}"
        if member.isreg():
            name = member.name.removeprefix("./")
            yield Entry(place, name, lambda member=member: archive.extractfile(member))
        elif not member.isdir():
            raise InputError(f"{place}: a link or device; pack the files themselves (tar --dereference)")


def _next_member(archive: tarfile.TarFile, path: Path) -> tarfile.TarInfo | None:
    try:
        member = archive.next()
        archive.members.clear()  # tarfile keeps each one it has met
        if member is None:
            archive.fileobj.seek(archive.offset)
            if len(archive.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:  # every tar ends in empty blocks
                raise EOFError("it ends too early")
        return member
    except TAR_DAMAGE as error:
        raise InputError(f"{path}: not a whole tar file ({error}); get it again") from None


def _of_folder(top: Path, folder: Path, above: tuple[os.stat_result, ...], left_out: list[str]) -> Iterator[Entry]:
    """Yield the regular files under a folder, sorted by name; ``above`` are the folders around it."""
    status = folder.stat()
    if any(os.path.samestat(status, other) for other in above):
        raise InputError(f"{shown(str(folder))}: a link to a folder around it; remove it")
    for path in sorted(folder.iterdir()):
        place = shown(str(path))
        if path.name.startswith("."):
            left_out.append(str(path))
            continue
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise InputError(f"{place}: {error.strerror}; mend or remove it") from None
        if stat.S_ISDIR(mode):
            yield from _of_folder(top, path, (*above, status), left_out)
        elif stat.S_ISREG(mode):
            yield Entry(place, path.relative_to(top).as_posix(), lambda path=path: path.open("rb"))
        else:
            raise InputError(f"{place}: neither a file nor a folder; remove it")
