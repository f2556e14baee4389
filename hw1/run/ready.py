"""Checks and mends before ``dvc repro``, for ``make repro``: params.yaml can be read, DVC's own lock too, git is there,
and nobody can write into DVC's cache through the working tree.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from hw1.run.files import lock
from hw1.run.parameters.params import load
from hw1.run.processes.supervision import run_stage


def mend_lock(folder: Path = Path(".dvc/tmp")) -> None:
    """Delete DVC's record of who reads and writes what, where a kill cut it short.

    DVC (3.67, dvc/rwlock.py) empties the file before it writes it anew, and from then on refuses to run at all. What
    it held is lost either way. It is guarded by a lock beside it: while another process has that, the file is its.
    """
    record = folder / "rwlock"
    if not record.exists():
        return
    guard = os.open(folder / "rwlock.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if lock(guard, wait=False):
            json.loads(record.read_bytes())
    except ValueError:
        record.unlink(missing_ok=True)
        print(f"{record}: cut short by a kill; deleted, so that DVC runs again")
    except FileNotFoundError:  # deleted meanwhile
        pass
    finally:
        os.close(guard)


def settle_git(root: Path = Path()) -> None:
    """Let DVC run without git where there is none, as in a clone that was downloaded as a zip; and with it again.

    DVC (3.67) refuses to run outside git unless core.no_scm says that it shall.
    """
    if not (root / ".dvc").is_dir():
        return
    in_git = any((folder / ".git").exists() for folder in (root.resolve(), *root.resolve().parents))
    local = root / ".dvc/config.local"
    without = local.exists() and "no_scm = true" in local.read_text(encoding="utf-8").lower()
    if in_git == without:
        _configure_dvc(root, *(("--unset", "core.no_scm") if in_git else ("core.no_scm", "true")))
    if not in_git:
        print(
            "no git here: the results are rebuilt without; experiments and comparisons of branches need it "
            "(`git init && git add . && git commit -m start`)"
        )


def part_from_cache(root: Path = Path(), user: int | None = None) -> None:
    """Let the working tree have copies (reflinks, where the disk has them) of what is in DVC's cache, for root.

    The hard links of .dvc/config are read-only files, which root can write into all the same, and so change the cache,
    unseen by DVC. A cache.type that .dvc/config.local has already stays.
    """
    if (os.geteuid() if user is None else user) or not (root / ".dvc").is_dir():
        return
    local = root / ".dvc/config.local"
    if local.exists() and re.search(r"^\s*type\s*=", local.read_text(encoding="utf-8"), re.M):
        return
    _configure_dvc(root, "cache.type", "reflink,copy")
    print(f"root can write into read-only links: from now on outputs are copies of DVC's cache ({local}: cache.type)")


def _configure_dvc(root: Path, *change: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "config", "--local", *change], cwd=root, check=True)


def main() -> None:
    settle_git()
    part_from_cache()
    mend_lock()
    load()


if __name__ == "__main__":
    run_stage(main)
