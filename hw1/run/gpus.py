"""Whether there is a GPU, and which ones a process may use where several train at once: those it holds a lock on.

A GPU is free while fewer than ``launch.trainings_per_gpu`` processes hold it. A process takes the least used
ones first, in torch's order, and waits where too few are free. The kernel lifts the locks of a process that ends.
"""

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from hw1.run.errors import InputError
from hw1.run.files import lock

POLL = 1.0  # seconds

_held: list[int] = []  # descriptors, open for the life of the process


def sees_gpu(required: bool = False) -> bool:
    """Whether torch can use a GPU. One that it finds and cannot use, for its driver is too old, is told in one line.

    Raises:
        InputError: it cannot, and one is ``required``.
    """
    import torch  # only here: it takes seconds, and who holds a GPU for others needs none of it

    with warnings.catch_warnings(record=True) as told:  # by torch, once in a process, in many words
        warnings.simplefilter("always")
        seen = torch.cuda.is_available()
    reason = str(told[0].message).removeprefix("CUDA initialization: ").partition(". ")[0] if told else ""
    if required and not seen:
        fault = "got cuda, but torch sees no GPU"
        raise InputError(f"runtime.device: {fault}{reason and f' ({reason})'}; allowed here: auto, cpu")
    if reason:
        print(f"runtime.device: auto takes the CPU: {reason}", file=sys.stderr)
    return seen


def names(count: int) -> list[str]:
    """What the ``count`` GPUs that torch sees are called in CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return (visible.split(",") if visible else [str(index) for index in range(count)])[:count]


def take(there: Sequence[str], count: int, per_gpu: int, folder: Path | None = None) -> list[str]:
    """Hold ``count`` of the GPUs ``there`` until the process ends; waits until as many are free.

    The locks lie in ``folder``, by default one of the user's in the machine's temporary folder. A job of SLURM has its
    own: each job has other GPUs, and may call them by the same numbers.
    """
    job = f"-{number}" if (number := os.environ.get("SLURM_JOB_ID")) else ""
    folder = folder or Path(tempfile.gettempdir()) / f"hw1-gpus-{os.getuid()}{job}"
    folder.mkdir(mode=0o700, exist_ok=True)
    told = False
    while True:
        held: dict[str, int] = {}
        for slot in range(per_gpu):
            for name in there:
                if len(held) < count and name not in held:
                    held |= _try(folder / f"{_file_name(name)}.{slot}", name)
        if len(held) == count:
            _held.extend(held.values())
            return [name for name in there if name in held]
        for descriptor in held.values():
            os.close(descriptor)
        if not told:
            print(f"launch: waiting for {count} of the GPUs {', '.join(there)} to become free", file=sys.stderr)
            told = True
        time.sleep(POLL)


def _file_name(gpu: str) -> str:
    """A part of a GPU may be called MIG-GPU-.../1/0."""
    return gpu.replace("/", "_")


def _try(path: Path, name: str) -> dict[str, int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if lock(descriptor, wait=False):
        return {name: descriptor}
    os.close(descriptor)
    return {}
