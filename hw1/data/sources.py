"""Where the archive comes from: drawn (``synthetic``) or given (``path``: a zip or a folder).

Whatever the source, one zip file lies on disk afterwards, with its SHA-256 beside it: DVC hashes and
links every file of an output, and sixty thousand small ones would cost minutes at every command.
"""

import json
import os
import shutil
import zipfile
from pathlib import Path

from hw1.data.synthetic import write_archive
from hw1.errors import InputError
from hw1.files import sha256, whole_file
from hw1.params import Data, Synthetic

CHUNK = 1 << 20  # bytes copied at a time


def fetch(data: Data, synthetic: Synthetic, out: Path) -> None:
    """Leave the archive at ``out``, ``out``.sha256 (as ``sha256sum`` writes it) and archive.json beside it.

    Raises:
        InputError: nothing at data.path, no zip there, or another checksum than data.sha256.
    """
    with whole_file(out) as draft:
        name = _draw(synthetic, draft) if data.source == "synthetic" else _copy(data, draft)
        digest = sha256(draft)
        if data.sha256 and digest != data.sha256:
            raise InputError(f"data.sha256: the archive has {digest}, params.yaml expects {data.sha256}")
        size = draft.stat().st_size
    with whole_file(out.with_name(f"{out.name}.sha256")) as draft:
        draft.write_text(f"{digest}  {out.name}\n")
    record = {"source": data.source, "name": name, "sha256": digest, "bytes": size}
    with whole_file(out.with_name("archive.json")) as draft:
        draft.write_text(json.dumps(record, indent=2) + "\n")


def _draw(synthetic: Synthetic, draft: Path) -> str:
    with open(draft, "wb") as file:
        write_archive(synthetic, file)
    return "drawn by the project"


def _copy(data: Data, draft: Path) -> str:
    # A queued experiment runs in a folder of its own, DVC_ROOT is the checkout the user wrote the path for.
    source = Path(os.environ.get("DVC_ROOT", "."), Path(data.path).expanduser())
    if source.is_dir():
        _zip_folder(source, draft)
    elif source.is_file():
        if not zipfile.is_zipfile(source):
            raise InputError(f"{data.path}: not a whole zip file; get the archive again (data.path)")
        shutil.copyfile(source, draft)
    else:
        raise InputError(
            f"{data.path}: no such file or folder (data.path); put the course's archive there, "
            "or set data.source: synthetic"
        )
    return source.name


def _zip_folder(folder: Path, draft: Path) -> None:
    """Pack a folder in the course's layout, sorted and without times: the same files, the same bytes."""
    if not any((folder / root / "p1_data").is_dir() for root in ("", "hw1_data")):
        raise InputError(f"{folder}: no p1_data in it (data.path); give the folder that holds p1_data or hw1_data")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            if not name.isprintable():  # bytes that are no UTF-8, line breaks: no zip can hold them faithfully
                raise InputError(f"{folder}: {name!a}: a file name of unprintable characters; rename or remove it")
            entry = zipfile.ZipInfo(name)
            with open(path, "rb") as file, archive.open(entry, "w", force_zip64=True) as member:
                shutil.copyfileobj(file, member, CHUNK)
