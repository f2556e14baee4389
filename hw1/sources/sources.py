"""Where the archive comes from (``data.source``), and how it becomes one zip file on disk.

Drawn (``synthetic``), given (``path``: a zip, a tar or a folder), fetched (``url``, ``course``), or built from
the public originals (``public``). DVC hashes and links every file of an output, and sixty thousand small ones
would cost minutes at every command: hence one zip. What is fetched stays in ``downloads/`` and is not fetched
again.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from hw1.archive.archive import Archive
from hw1.archive.spelling import PARTS, few, is_hidden, roots
from hw1.data.arrays import GIVEN_WEIGHTS
from hw1.run.errors import InputError
from hw1.run.files import sha256, whole_file
from hw1.run.parameters.params import Data, Synthetic
from hw1.sources.drive import TERMS, fetch_drive
from hw1.sources.network import changed, download
from hw1.sources.packing import Entry, append, entries, pack
from hw1.sources.public import public_entries
from hw1.sources.synthetic import write_archive

COURSE_ID = "1owVOM3V94bC8v2N8s7n56ciVzVbSzYtd"  # the course's archive on Google Drive
MAX_ARCHIVE = 256 << 30  # bytes that are fetched at most; ImageNet-1k has 150 billion
DEPTH = 5  # levels of folders above the course's


def fetch(data: Data, synthetic: Synthetic, out: Path) -> None:
    """Leave the archive at ``out``, ``out``.sha256 (as ``sha256sum`` writes it) and archive.json beside it.

    Raises:
        InputError: nothing to be had from the source, no archive there, or another checksum than data.sha256.
    """
    with whole_file(out) as draft:
        name, given = SOURCES[data.source](data, synthetic, draft)
        _require_pinned(data, given)
        if data.weights:
            _add_weights(data, draft)
        archive = Archive(draft, called=name)
        digest, size, origin = sha256(draft), draft.stat().st_size, archive.origin
    if archive.outside:
        _say(f"{name}: left out {len(archive.outside):,} files outside of the course's folders: {few(archive.outside)}")
    with whole_file(out.with_name(f"{out.name}.sha256")) as draft:
        draft.write_text(f"{digest}  {out.name}\n")
    record = {"source": data.source, "name": name, "origin": origin, "sha256": digest, "bytes": size}
    with whole_file(out.with_name("archive.json")) as draft:
        draft.write_text(json.dumps(record, indent=2) + "\n")


Source = Callable[[Data, Synthetic, Path], tuple[str, Path]]  # fills a draft; name, and the file data.sha256 is of


def _draw(data: Data, synthetic: Synthetic, draft: Path) -> tuple[str, Path]:
    with open(draft, "wb") as file:
        write_archive(synthetic, file)
    return "drawn by the project", draft


def _given(data: Data, synthetic: Synthetic, draft: Path) -> tuple[str, Path]:
    path = of_project(data.path)
    if not path.exists():
        raise InputError(
            f"{data.path}: no such file or folder (data.path); put the course's archive there, "
            "or set data.source: synthetic"
        )
    return path.name, take(path, draft)


def _mirrored(data: Data, synthetic: Synthetic, draft: Path) -> tuple[str, Path]:
    name = PurePosixPath(urlsplit(data.url).path).name or "archive"
    # Two addresses may end in the same name.
    path = of_project("downloads") / hashlib.sha256(data.url.encode()).hexdigest()[:8] / name
    if path.is_file():
        if changed(path):
            _say(f"{data.url}: there is another version now; using the one fetched before (delete {path} for the new)")
    else:
        download(data.url, path, MAX_ARCHIVE, f"sha256:{data.sha256}" if data.sha256 else "")
    return name, _use_fetched(path, draft)


def _of_course(data: Data, synthetic: Synthetic, draft: Path) -> tuple[str, Path]:
    path = of_project("downloads/hw1_data.zip")
    if not path.is_file():
        _say(TERMS)
        fetch_drive(COURSE_ID, path, MAX_ARCHIVE, f"sha256:{data.sha256}" if data.sha256 else "")
    return path.name, _use_fetched(path, draft)


def _public(data: Data, synthetic: Synthetic, draft: Path) -> tuple[str, Path]:
    pack(public_entries(of_project(data.originals)), draft)
    return "built from the public originals", draft


SOURCES: dict[str, Source] = {
    "synthetic": _draw,
    "path": _given,
    "url": _mirrored,
    "course": _of_course,
    "public": _public,
}


def of_project(path: str) -> Path:
    """A path of params.yaml: relative to the checkout, also in a queued experiment's folder of its own."""
    return Path(os.environ.get("DVC_ROOT", "."), Path(path).expanduser())


def _use_fetched(path: Path, draft: Path) -> Path:
    """Take a file of downloads/, which must be the one that was fetched first: its SHA-256 is pinned there."""
    pin = path.with_name(f"{path.name}.sha256")
    digest = sha256(path)
    if not pin.is_file():
        if not (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
            path.unlink()
            raise InputError(f"{path}: what was fetched is no zip or tar file, and was deleted; look at its address")
        with whole_file(pin) as file:
            file.write_text(f"{digest}  {path.name}\n")
        _say(f"{path}: fetched, SHA-256 {digest}; set data.sha256 to it, and nobody gets another archive unnoticed")
    pinned = pin.read_text().partition(" ")[0]
    if digest != pinned:
        raise InputError(
            f"{path}: SHA-256 {digest}, but {pinned} was fetched first; delete it to fetch it again, "
            f"and {pin.name} too if it may be another"
        )
    return take(path, draft)


def _require_pinned(data: Data, given: Path) -> None:
    if data.sha256 and (digest := sha256(given)) != data.sha256:
        raise InputError(f"data.sha256: the archive has {digest}, params.yaml expects {data.sha256}")


def take(path: Path, draft: Path) -> Path:
    """Copy a zip as it is, pack a tar or a folder; the file whose SHA-256 a user can know beforehand."""
    if path.is_dir():
        pack(_of_course_folder(path), draft)
    elif zipfile.is_zipfile(path):
        shutil.copyfile(path, draft)
    else:
        pack(entries(path), draft)
        return path
    return draft


def _of_course_folder(folder: Path) -> Iterator[Entry]:
    """What belongs to the course's layout of a folder that may hold other things too."""
    found = roots(f"{path.relative_to(folder).as_posix()}/" for path in folders(folder))
    if not found:
        there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        raise InputError(
            f"{folder}: no {', '.join(PARTS)} in it (data.path); give the folder that holds them"
            + (f"; it holds {few(there)}" if there else "")
        )
    if len(found) > 1:
        raise InputError(
            f"{folder}: {', '.join(PARTS)} lie in {few([place or '.' for place in found])} (data.path); "
            "give one of these folders"
        )
    root, left_out = folder / found[0], []
    for path in sorted(root.iterdir()):
        if path.is_dir() and path.name.lower() in PARTS:
            for entry in entries(path, left_out):
                yield dataclasses.replace(entry, name=f"{path.name.lower()}/{entry.name}")
        elif path.name.lower() == GIVEN_WEIGHTS.lower():
            yield _weights_entry(path)
        else:
            left_out.append(str(path))
    if left_out:
        _say(f"{folder}: left out {len(left_out):,} files and folders: {few(left_out)}")


def folders(folder: Path, depth: int = 0) -> Iterator[Path]:
    """The folders below, but for hidden ones and those in the course's own, to a few levels."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not is_hidden(path.name):
            yield path
            if path.name.lower() not in PARTS and depth < DEPTH:
                yield from folders(path, depth + 1)


def _add_weights(data: Data, draft: Path) -> None:
    """Put data.weights into the archive, under the name the course's has there."""
    path = of_project(data.weights)
    if not path.is_file():
        raise InputError(f"{data.weights}: no such file (data.weights); put the supervised ResNet there, or set ''")
    given = Archive(draft)
    if given.weights:
        raise InputError(
            f"{data.weights}: the archive has {given.weights} already; set data.weights to '', or take "
            "that file out of the archive"
        )
    with zipfile.ZipFile(draft, "a") as archive:
        append(archive, dataclasses.replace(_weights_entry(path), name=given.root + GIVEN_WEIGHTS))


def _weights_entry(path: Path) -> Entry:
    return Entry(str(path), GIVEN_WEIGHTS, lambda: open(path, "rb"))


def _say(line: str) -> None:
    print(line, file=sys.stderr)
