"""The source of the archive (``data.source``), made one zip file on disk.

Drawn (``synthetic``), given (``path``: a zip, a tar or a folder), fetched (``url``, ``course``), or built from
the public originals (``public``). DVC hashes and links every file of an output, and sixty thousand small ones
would cost minutes at every command: hence one zip. What is fetched stays in ``downloads/`` and is not fetched
again.
"""

import dataclasses
import hashlib
import json
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
from hw1.run.files import project_root, sha256, whole_file
from hw1.run.parameters.params import Data, Synthetic
from hw1.sources.network import changed, download, fetch_drive
from hw1.sources.packing import Entry, append, entries, pack
from hw1.sources.public import public_entries
from hw1.sources.synthetic import write_archive

COURSE_ID = "1owVOM3V94bC8v2N8s7n56ciVzVbSzYtd"  # the course's archive on Google Drive
TERMS = (
    "The course's archive is for its homework. Its pictures are CIFAR-100's, Mini-ImageNet's (ImageNet's terms: "
    "research and education without profit), Office-Home's (the same) and DeepGlobe's (its challenge's terms)."
)
MAX_ARCHIVE = 256 << 30  # bytes that are fetched at most; ImageNet-1k has 150 billion
DEPTH = 5  # levels of folders above the course's


def fetch(data: Data, synthetic: Synthetic, out: Path) -> None:
    """Leave the archive at ``out``, ``out``.sha256 (as ``sha256sum`` writes it) and archive.json beside it.

    Raises:
        InputError: nothing to be had from the source, no archive there, or another checksum than data.sha256.
    """
    with whole_file(out) as draft:
        name, given = SOURCES[data.source](data, synthetic, draft)
        if data.sha256 and (digest := sha256(given)) != data.sha256:
            raise InputError(f"data.sha256: the archive has {digest}, params.yaml expects {data.sha256}")
        if data.weights:
            _add_weights(data, draft)
        archive = Archive(draft, called=name)
        record = {"source": data.source, "name": name, "origin": archive.origin, "sha256": sha256(draft)}
        record["bytes"] = draft.stat().st_size
    if archive.outside:
        _say(f"{name}: left out {len(archive.outside):,} files outside of the course's folders: {few(archive.outside)}")
    _write(out.with_name(f"{out.name}.sha256"), f"{record['sha256']}  {out.name}\n")
    _write(out.with_name("archive.json"), json.dumps(record, indent=2) + "\n")


Source = Callable[[Data, Synthetic, Path], tuple[str, Path]]  # fills a draft; name, and the file data.sha256 is of


def _draw(data: Data, synthetic: Synthetic, draft: Path) -> tuple[str, Path]:
    with open(draft, "wb") as file:
        write_archive(synthetic, file)
    return "drawn by the project", draft


def _given(data: Data, synthetic: Synthetic, draft: Path) -> tuple[str, Path]:
    path = _of_project(data.path)
    if not path.exists():
        advice = "put the course's archive there, or set data.source: synthetic"
        raise InputError(f"{data.path}: no such file or folder (data.path); {advice}")
    return path.name, take(path, draft)


def _mirrored(data: Data, synthetic: Synthetic, draft: Path) -> tuple[str, Path]:
    name = PurePosixPath(urlsplit(data.url).path).name or "archive"
    # Two addresses may end in the same name.
    path = _of_project("downloads") / hashlib.sha256(data.url.encode()).hexdigest()[:8] / name
    if not path.is_file():
        download(data.url, path, MAX_ARCHIVE, data.sha256 and f"sha256:{data.sha256}")
    elif changed(path):
        _say(f"{data.url}: there is another version now; using the one fetched before (delete {path} for the new)")
    return name, _use_fetched(path, draft)


def _of_course(data: Data, synthetic: Synthetic, draft: Path) -> tuple[str, Path]:
    path = _of_project("downloads/hw1_data.zip")
    if not path.is_file():
        _say(TERMS)
        fetch_drive(COURSE_ID, path, MAX_ARCHIVE, data.sha256 and f"sha256:{data.sha256}")
    return path.name, _use_fetched(path, draft)


def _public(data: Data, synthetic: Synthetic, draft: Path) -> tuple[str, Path]:
    pack(public_entries(_of_project(data.originals)), draft)
    return "built from the public originals", draft


SOURCES: dict[str, Source] = {
    "synthetic": _draw,
    "path": _given,
    "url": _mirrored,
    "course": _of_course,
    "public": _public,
}


def _of_project(path: str) -> Path:
    """Join a path of params.yaml to the checkout, also in a queued experiment's folder of its own."""
    return project_root() / Path(path).expanduser()


def _use_fetched(path: Path, draft: Path) -> Path:
    """Take a file of downloads/, which must be the one that was fetched first: its SHA-256 is pinned there."""
    pin = path.with_name(f"{path.name}.sha256")
    digest = sha256(path)
    if not pin.is_file():
        if not (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
            path.unlink()
            raise InputError(f"{path}: what was fetched is no zip or tar file, and was deleted; look at its address")
        _write(pin, f"{digest}  {path.name}\n")
        _say(f"{path}: fetched, SHA-256 {digest}; set data.sha256 to it, and nobody gets another archive unnoticed")
    pinned = pin.read_text().partition(" ")[0]
    if digest != pinned:
        raise InputError(
            f"{path}: SHA-256 {digest}, but {pinned} was fetched first; delete it to fetch it again, "
            f"and {pin.name} too if it may be another"
        )
    return take(path, draft)


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
    """Yield what belongs to the course's layout of a folder that may hold other things too."""
    places = roots(f"{path.relative_to(folder).as_posix()}/" for path in folders(folder))
    parts = ", ".join(PARTS)
    if not places:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        content = f"; it holds {few(names)}" if names else ""
        raise InputError(f"{folder}: no {parts} in it (data.path); give the folder that holds them{content}")
    if len(places) > 1:
        several = few([place or "." for place in places])
        raise InputError(f"{folder}: {parts} lie in {several} (data.path); give one of these folders")
    root, left_out = folder / places[0], []
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
    """Yield the folders below, but for hidden ones and those in the course's own, to a few levels."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not is_hidden(path.name):
            yield path
            if path.name.lower() not in PARTS and depth < DEPTH:
                yield from folders(path, depth + 1)


def _add_weights(data: Data, draft: Path) -> None:
    """Put data.weights into the archive, under the name the course's has there."""
    path = _of_project(data.weights)
    if not path.is_file():
        raise InputError(f"{data.weights}: no such file (data.weights); put the supervised ResNet there, or set ''")
    given = Archive(draft)
    if given.weights:
        advice = "set data.weights to '', or take that file out of the archive"
        raise InputError(f"{data.weights}: the archive has {given.weights} already; {advice}")
    with zipfile.ZipFile(draft, "a") as archive:
        append(archive, dataclasses.replace(_weights_entry(path), name=given.root + GIVEN_WEIGHTS))


def _weights_entry(path: Path) -> Entry:
    return Entry(str(path), GIVEN_WEIGHTS, lambda: open(path, "rb"))


def _write(path: Path, text: str) -> None:
    with whole_file(path) as draft:
        draft.write_text(text)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
