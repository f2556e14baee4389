"""The resumable state of a training on disk: where it lies, what it belongs to, that it is whole.

States lie in ``.checkpoints/{stage}-{key}/`` under the project's root, outside the outputs that DVC deletes before a
stage runs; a rerun finds them, also one of a temporary or queued experiment (DVC keeps DVC_ROOT at the checkout). The
key is a hash of what determines the result: the parameters used, the input files, the modules loaded outside of this
package, torch's version. ``identity.json`` lists them, so that a training which starts afresh can name what changed.

A state is ``{number}.{SHA-256 of its bytes}.pt``, of plain tensors and numbers. The newest two are kept, and one whose
bytes do not have its SHA-256 is passed over. The folder goes when the training's outputs are written.

The training stops for a copy in memory only; a thread writes it. A process killed meanwhile leaves the state before.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hw1.run.files import link, project_root, sha256, sole_folder
from hw1.run.processes.ranks import rank
from hw1.run.processes.supervision import deferred
from hw1.run.states.copies import Copies

CODE = ("hw1/", "stages/")
AROUND = ("hw1/run/", "hw1/__init__.py", "stages/__init__.py")  # where no edit changes a result
KEPT = 2  # states on disk, the newest
SHARE = 0.1  # of the time that may go into writing states of epochs

State = dict[str, Any]


class Checkpoint:
    """The states of one training in ``folder``, or none at all where that is None.

    One is written at a time. That of an epoch's end is passed over while one is, and where states would be written for
    more than SHARE of the time; then one is due as soon as neither holds, at the latest ``checkpoint.minutes`` after
    the last. A disk that takes no state is told once and does not stop the training; later states are tried again.
    """

    def __init__(self, stage: str = "", folder: Path | None = None, minutes: float = 0.0):
        self._stage, self._folder, self._minutes = stage, folder, minutes
        self._number = 0
        self._companions: Path | None = None
        self._digests: dict[str, str] = {}
        self._copies = Copies()
        self._writer: threading.Thread | None = None
        self._taken = time.monotonic()  # when the last state was
        self._took = 0.0  # seconds, from then until it was on disk
        self._wanted = False  # for the end of an epoch
        self._last: tuple[State, Sequence[str]] | None = None
        self._fault_told = False

    def include(self, folder: Path) -> None:
        """Keep the files of ``folder`` (weights of chosen epochs) with each state, and bring them back on loading."""
        self._companions = folder

    def due(self) -> bool:
        """Tell if the last state is older than ``checkpoint.minutes``, or one that was passed over can be taken now."""
        if self._folder is None or (self._writer and self._writer.is_alive()):
            return False
        age = time.monotonic() - self._taken
        return age >= 60 * self._minutes or (self._wanted and age >= self._took / SHARE)

    def load(self) -> State | None:
        """The newest whole state, its tensors on the CPU; None without one."""
        for path in reversed(self._files()):
            state = self._read(path)
            if state is not None:
                self._number = int(path.name.split(".")[0])
                return state
            self._tell(f"the state {path.name} is not whole; going on from the one before")
        return None

    def save(self, state: State, wait: bool = False) -> None:
        """Copy ``state`` (dicts, lists, numbers, text, tensors) and let a thread write it, or pass it over.

        With ``wait`` it is never passed over, and on disk when this returns.
        """
        if self._folder is None:
            return
        self._wanted = True
        if wait:
            self.wait()
        elif not self.due():
            return
        self._wanted, self._taken = False, time.monotonic()
        with self._telling():
            self._start(state, self._keep_companions())
        if wait:
            self.wait()

    def finish(self, state: State) -> None:
        """Take the state after the last epoch, final tensors; :meth:`close` writes it only if the outputs fail."""
        if self._folder is not None:
            with self._telling():
                self._last = state, self._keep_companions()

    def close(self, succeeded: bool) -> None:
        """End with the training: no thread is left, and no work is lost unless it ``succeeded``."""
        self.wait()
        if self._last and not succeeded:
            with self._telling():
                self._start(*self._last)
            self.wait()
        self._last, self._copies = None, Copies()

    def wait(self) -> None:
        """Return when no state is being written."""
        if self._writer:
            self._writer.join()

    def _start(self, state: State, companions: Sequence[str]) -> None:
        # A daemon: where a second signal or an error ends the process, this must not hold it up.
        writer = threading.Thread(target=self._write, args=(*self._copies.take(state), companions), daemon=True)
        writer.start()
        self._writer = writer

    def _write(self, state: State, ready: Callable[[], None], companions: Sequence[str]) -> None:
        draft = self._folder / "state.tmp"
        with self._telling(), contextlib.ExitStack() as undo:
            undo.callback(draft.unlink, missing_ok=True)
            ready()
            for name in companions:
                if name not in self._digests:
                    self._digests[name] = sha256(self._folder / name)
            torch.save({**state, "companions": {name: self._digests[name] for name in companions}}, draft)
            with open(draft, "rb") as file:
                os.fsync(file.fileno())
            self._number += 1
            os.replace(draft, self._folder / f"{self._number:09d}.{sha256(draft)}.pt")
            for old in self._files()[:-KEPT]:
                old.unlink()
        self._took = time.monotonic() - self._taken

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell the user once of a state that cannot be kept, in place of an error."""
        try:
            yield
        except (OSError, RuntimeError, MemoryError) as error:  # torch's writer raises RuntimeError for a full disk
            if not self._fault_told:
                self._fault_told = True
                reason = (str(error) or type(error).__name__).splitlines()[0]
                self._tell(f"no state could be written ({reason}); going on, an interruption now costs the work since")

    def _files(self) -> list[Path]:
        return [] if self._folder is None else sorted(self._folder.glob("*.pt"))

    def _read(self, path: Path) -> State | None:
        try:
            if sha256(path) != path.name.split(".")[1]:
                return None
            state = torch.load(path, map_location="cpu", weights_only=True)
            self._restore_companions(state.pop("companions"))
        except Exception:  # torch raises whatever its unpickler meets
            return None
        return state

    def _keep_companions(self) -> list[str]:
        """Link the companions into the state's folder; returns their names."""
        names = []
        for path in sorted(self._companions.iterdir()) if self._companions else ():
            kept = self._folder / path.name
            if not (kept.exists() and kept.samefile(path)):
                self._digests.pop(path.name, None)
                link(path, kept)
            names.append(path.name)
        return names

    def _restore_companions(self, digests: Mapping[str, str]) -> None:
        for name, digest in digests.items():
            kept = self._folder / name
            if sha256(kept) != digest:
                raise ValueError(f"{kept}: not what belongs to the state")
            link(kept, self._companions / name)
        self._digests = dict(digests)

    def _tell(self, text: str) -> None:
        print(f"{self._stage}: {text}", file=sys.stderr)


NO_CHECKPOINT = Checkpoint()


@contextlib.contextmanager
def checkpointed(
    stage: str, parameters: Mapping[str, Any], inputs: Iterable[Path], minutes: float
) -> Iterator[Checkpoint]:
    """The states of ``stage``, kept if the block fails or is stopped, removed if it succeeds.

    ``parameters`` and the files ``inputs`` (folders: all files in them) determine the result, with the code that is
    loaded. A second process with the same ones waits. Of several ranks, the first keeps the states.
    """
    if rank():
        yield Checkpoint()
        return
    identity = {
        "parameters": json.loads(json.dumps(parameters)),  # lists for tuples, as it will be read back
        "data": _digests(inputs),
        "code": _loaded_code(),
        "versions": {"torch": torch.__version__},
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    root = project_root() / ".checkpoints"
    folder = root / f"{stage}-{key}"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(sole_folder(folder, empty=False))
            _tell_what_changed(stage, identity, folder)
            (folder / "identity.json").write_text(json.dumps(identity, indent=1) + "\n")
        except OSError as error:
            print(f"{stage}: no state can be kept in {root} ({error.strerror}); going on without", file=sys.stderr)
            folder = None
        checkpoint, succeeded = Checkpoint(stage, folder, minutes), False
        try:
            yield checkpoint
            succeeded = True
        finally:
            with deferred():  # a signal must not part the thread from its folder
                checkpoint.close(succeeded)
                if folder is not None and (succeeded or not any(folder.glob("*.pt"))):
                    shutil.rmtree(folder, ignore_errors=True)
                    with contextlib.suppress(OSError):  # others have states there
                        root.rmdir()


def _tell_what_changed(stage: str, identity: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Say in a line on stderr if there are states of this stage, but none that belong to ``identity``."""
    kept = [path for path in folder.parent.glob(f"{stage}-*") if any(path.glob("*.pt"))]
    if not kept or folder in kept:
        return
    latest = max(kept, key=lambda path: path.stat().st_mtime)
    try:
        before = json.loads((latest / "identity.json").read_text())
        changes = [_changes(section, before[section], identity[section]) for section in identity]
    except (OSError, ValueError, KeyError):
        changes = ["it cannot be told what changed"]
    place, changed = f"{latest.parent.name}/{latest.name}", "; ".join(filter(None, changes))
    print(
        f"{stage}: starts afresh, not from the state in {place} (`make clean` removes it): {changed}", file=sys.stderr
    )


def _changes(section: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if section == "parameters":
        return ", ".join(f"{key} was {before.get(key)} and is {now.get(key)}" for key in changed)
    return f"{section} changed ({', '.join(changed)})" if changed else ""


def _digests(inputs: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of every file by its path."""
    files = [file for path in inputs for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return {file.as_posix(): sha256(file) for file in files if file.is_file()}


def _loaded_code() -> dict[str, str]:
    """SHA-256 of every module loaded that a result comes from, by its path in the project."""
    root = Path(__file__).resolve().parents[3]
    loaded = {Path(getattr(module, "__file__", None) or "").resolve() for module in list(sys.modules.values())}
    names = {file.relative_to(root).as_posix(): file for file in loaded if file.is_relative_to(root)}
    return {
        name: sha256(names[name]) for name in sorted(names) if name.startswith(CODE) and not name.startswith(AROUND)
    }
