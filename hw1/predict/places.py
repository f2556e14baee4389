"""Where a command may write, found out before it computes for minutes."""

from collections.abc import Iterable
from pathlib import Path

from hw1.run.errors import InputError


def require_file_place(out: Path, inputs: Iterable[Path] = ()) -> None:
    """InputError unless a file can be put at ``out`` that is none of the ``inputs``."""
    if not out.name or out.is_dir():
        raise InputError(f"{out}: a folder; give the name of the file to write")
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise InputError(f"{out}: would be written over what is read; give another name")
    _require_folders(out.parent)


def require_folder_place(out: Path, inputs: Iterable[Path] = ()) -> None:
    """InputError unless ``out`` is or can become a folder that is none of the ``inputs``."""
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise InputError(f"{out}: the folder that is read; true masks may lie there, give another one")
    _require_folders(out)


def require_new_folder(out: Path) -> None:
    """InputError unless a folder can be made at ``out``, where nothing is yet, or an empty one."""
    if not out.name or out.is_symlink() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out}: something lies there; give the name of a new folder, or remove it")
    _require_folders(out)


def _require_folders(path: Path) -> None:
    for part in (path, *path.parents):
        if part.exists():
            if not part.is_dir():
                raise InputError(f"{part}: no folder, so nothing can be written into it")
            return
