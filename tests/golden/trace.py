"""Run every stage of the quick preset on a handful of images in one process, and write a digest of all it computes.

``python tests/golden/trace.py FILE [STAGE ...]``, with stages only these and those before them: a line for each
optimiser step of each training, with a digest of the batch, the losses and every tensor of the network after it, and
one for each stage with a digest of every file that it leaves. Networks and image sizes are the preset's own, as kernels
are chosen by them. Two CPUs compute the same where their files are equal. ``tests/golden/digests.txt`` is the one in
git; ``make golden`` writes it anew.
"""

import contextlib
import hashlib
import io
import os
import runpy
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hw1.run.processes.numerics import pin, stand_in  # noqa: E402

pin("portable", threads=1)  # before torch or NumPy is loaded
stand_in()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402

from hw1.engine.step import Step  # noqa: E402

SHORT = 4  # hex digits of a tensor; whatever parts two runs parts all that follows
PROBLEMS = ("p1", "p2", "p3")


def small(preset: dict) -> dict:
    """The preset with two epochs of two steps, the second of them of a few images.

    Batches have at most 16 images, from which on torch chooses kernels as for more.
    """
    preset["synthetic"] |= {
        "p1": {"classes": 9, "train": 18, "validation": 40, "size": 32},
        "mini": {"classes": 9, "train": 18, "size": 32},
        "office": {"classes": 9, "train": 18, "validation": 40, "size": 32},
        "p3": {"train": 6, "validation": 4, "size": 96},
    }
    trainings = [preset["pretrain"]["supervised"], preset["pretrain"]["byol"], preset["finetune"]]
    trainings += [*preset["pretrain"]["start"].values(), *preset["classify"].values(), *preset["segment"].values()]
    for training in trainings:
        training |= {"epochs": 2, "batch_size": min(training["batch_size"], 16)}
    return preset


def digest(data: bytes | torch.Tensor, length: int = 8) -> str:
    if isinstance(data, torch.Tensor):
        data = data.detach().contiguous().numpy().tobytes()
    return hashlib.sha256(data).hexdigest()[:length]


class Trace:
    """Writes lines of stage, moment and digests, in the order of the run; ``write`` takes a line."""

    def __init__(self, write: Callable[[str], object]):
        self._write = write
        self._stage, self._step, self._names = "", 0, ""

    def begin(self, stage: str) -> None:
        self._stage, self._step, self._names = stage, 0, ""

    def step(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._step += 1
        if (names := " ".join(tensors)) != self._names:  # once for the steps of a training
            self._names = names
            self._line("tensors", names)
        self._line(f"step {self._step}", " ".join(digest(tensor, SHORT) for tensor in tensors.values()))

    def outputs(self, files: Mapping[str, Path]) -> None:
        self._line("outputs", " ".join(f"{name}={digest(path.read_bytes())}" for name, path in files.items()))

    def _line(self, moment: str, text: str) -> None:
        self._write(f"{self._stage} | {moment} | {text}\n")


def traced(trace: Trace) -> None:
    """Let every optimiser step leave its line."""
    begin, call = Step.__init__, Step.__call__

    def __init__(self: Step, recipe: object, *arguments: object) -> None:
        begin(self, recipe, *arguments)
        self.network = recipe.network

    def __call__(self: Step, images: torch.Tensor, targets: torch.Tensor, rate: float) -> Mapping[str, torch.Tensor]:
        means = call(self, images, targets, rate)
        trace.step({"images": images, "targets": targets, **means, **self.network.state_dict()})
        return means

    Step.__init__, Step.__call__ = __init__, __call__


def stages(targets: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Name, command and outputs of every stage, or of ``targets`` and those before them, in an order of the DAG."""
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    outs = {name: [out["path"] for out in stage["outs"]] for name, stage in lock.items()}
    before = {
        name: {
            maker
            for maker, paths in outs.items()
            for path in paths
            for dep in stage.get("deps", ())
            if f"{dep['path']}/".startswith(f"{path}/") or path.startswith(f"{dep['path']}/")
        }
        for name, stage in lock.items()
    }
    wanted, waiting = set(), list(targets or lock)
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        waiting += before[name] - wanted
    for name in TopologicalSorter({name: sorted(before[name]) for name in lock if name in wanted}).static_order():
        yield name, lock[name]["cmd"], outs[name]


def keep_seeds(seed: int, folder: Path) -> None:
    """Stand-ins for the predictions of four more seeds: the rows of this one's, each seed turned by another number."""
    for turn in range(5):
        place = folder / str(seed + turn)
        place.mkdir(parents=True)
        for problem in PROBLEMS:
            table = pd.read_csv(f"plots/predictions/{problem}.csv", dtype=str)
            said = [name for name in table if name not in ("image", "label", "model", "class", "truth")]
            table[said] = np.roll(table[said].to_numpy(), 7 * 14 * turn, axis=0)
            table.to_csv(place / f"{problem}.csv", index=False, lineterminator="\n")


def files_of(paths: list[str]) -> dict[str, Path]:
    every = [file for path in map(Path, paths) for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {file.as_posix(): file for file in every if file.is_file()}


def run(trace: Trace, targets: Sequence[str]) -> None:
    """Run the stages in this process, in the working folder."""
    preset = yaml.safe_load((ROOT / "presets/quick.yaml").read_text(encoding="utf-8"))
    Path("params.yaml").write_text(yaml.safe_dump(small(preset), sort_keys=False), encoding="utf-8")
    for name in ("presets", "environment.json"):
        os.symlink(ROOT / name, name)
    Path("plots/seeds").mkdir(parents=True)
    traced(trace)
    for name, command, outs in stages(targets):
        begun = time.monotonic()
        module, arguments = command.split()[2], command.split()[3:]
        if name == "compare":
            keep_seeds(preset["seed"], Path("plots/seeds"))
        trace.begin(name)
        with contextlib.redirect_stdout(io.StringIO()):  # epochs' lines
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        trace.outputs(files_of(outs))
        print(f"{name}: {time.monotonic() - begun:.1f} s", flush=True)


def main() -> None:
    os.environ["HW1_TRACKING"] = "off"
    file, folder = Path(sys.argv[1]).resolve(), tempfile.mkdtemp(prefix="hw1-golden-")
    os.chdir(folder)
    try:
        with open(file, "w", encoding="utf-8", buffering=1) as lines:
            run(Trace(lines.write), sys.argv[2:])
    finally:
        os.chdir(ROOT)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
