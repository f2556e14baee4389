"""Outputs that are either whole or absent, written by one process at a time.

A draft is made in a hidden folder beside the output, then renamed. The folder is locked: a second process
that writes the same output waits for the first. The kernel lifts the lock of a process that is killed, and
the next one clears what it left. All locks of the project are :func:`lock`'s.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from hw1.run.errors import InputError

FULL = 1 << 16  # bytes free at which an error is put down to a full disk: libraries name it in many ways
_md5 = partial(hashlib.md5, usedforsecurity=False)  # names content, protects nothing
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # of file systems without flock: as if alone


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to ``path`` on success, delete it on any error."""
    path = Path(path)
    with sole_folder(path.with_name(f".{path.name}.tmp")) as folder:
        try:
            draft = folder / path.name
            yield draft
            os.replace(draft, path)
        except InputError:
            raise
        except Exception as error:
            if "No space left" in str(error) or shutil.disk_usage(path.parent).free < FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Like :func:`whole_file` for a folder; an older folder at ``path`` is replaced."""
    path = Path(path)
    with whole_file(path) as draft:
        draft.mkdir()
        yield draft
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def sole_folder(path: Path, empty: bool = True) -> Iterator[Path]:
    """Make ``path`` a folder that no other process holds, waiting for one that does; ``empty`` clears it.

    Whoever holds it may delete it; the next one makes it anew.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(path)
    try:
        if empty:
            for leftover in path.iterdir():  # of a process that was killed
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        yield path
    finally:
        os.close(descriptor)


def lock(descriptor: int, wait: bool = True) -> bool:
    """Lock an open file or folder until the last descriptor of this opening is closed; False if another has it.

    ``flock`` is of the opening, not of the name: whoever may find the file deleted and made anew must look again.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


def is_locked(path: Path) -> bool | None:
    """Tell if a process, also another container's or host's, has the :func:`lock`; None where there are no locks."""
    with open(path, "rb") as first, open(path, "rb") as second:
        if not lock(first.fileno(), wait=False):
            return True
        return None if lock(second.fileno(), wait=False) else False  # where there are locks, the first one's holds


def project_root() -> Path:
    """Folder of what belongs to no one run: that of the checkout, as DVC says in an experiment's own folder."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def link(source: Path, target: Path) -> None:
    """Give a file a second name, as a copy where the file system has no links; replaces an older one."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def dvc_hash(path: Path) -> str:
    """DVC's hash of a file, its MD5, or of a folder: the MD5 of the list of its files, with ``.dir``.

    Files that the working folder's .dvcignore names for every folder are left out, as DVC does.
    """
    if path.is_dir():
        ignored = _ignored_names()
        files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
        hidden = {name for name in files if any(fnmatch(part, one) for part in name.split("/") for one in ignored)}
        return folder_hash({name: dvc_hash(files[name]) for name in files.keys() - hidden})
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest()


def folder_hash(files: Mapping[str, str]) -> str:
    """DVC's hash of a folder, from those of its files by their paths in it."""
    listed = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return f"{_md5(json.dumps(listed).encode()).hexdigest()}.dir"


def _ignored_names() -> list[str]:
    """The patterns of .dvcignore that hold in every folder."""
    path = Path(".dvcignore")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [line.rstrip("/") for line in map(str.strip, lines) if line and not line.startswith(("#", "/"))]


def _locked(folder: Path) -> int:
    """Descriptor of the folder, made if need be, with the lock on it."""
    waiting = False
    while True:
        with suppress(FileExistsError):
            folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # deleted by the one before, since mkdir
            continue
        if not lock(descriptor, wait=False):
            if not waiting:
                print(f"{folder}: another process is at work here; waiting for its end", file=sys.stderr)
                waiting = True
            lock(descriptor)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                return descriptor
        os.close(descriptor)
