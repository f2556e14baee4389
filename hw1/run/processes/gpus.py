"""Whether there is a GPU, and which ones a process may use where several train at once: those it holds a lock on.

A GPU is free while fewer than ``launch.trainings_per_gpu`` processes hold it. A process takes the least used
ones first, in torch's order, and waits where too few are free. The kernel lifts the locks of a process that ends.
"""

import os
import re
import subprocess
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
    """Tell whether torch can use a GPU. One that is there and that it cannot use, whose driver is older than its CUDA
    or whose kind it has no code for, is told in one line, with what to install.

    Raises:
        InputError: it cannot, and one is ``required``.
    """
    import torch  # only here: it takes seconds, and who holds a GPU for others needs none of it

    with warnings.catch_warnings(record=True) as told:  # by torch, once in a process, in many words
        warnings.simplefilter("always")
        seen = torch.cuda.is_available()
    reason = str(told[0].message).removeprefix("CUDA initialization: ").partition(". ")[0] if told else ""
    if seen and (lacking := without_code(torch.cuda.get_arch_list(), _capabilities())):
        seen, reason = False, lacking
    if reason:
        reason += f"; torch {torch.__version__} is for CUDA {torch.version.cuda}, docs/usage.md says how to get another"
    if required and not seen:
        fault = "got cuda, but torch sees no GPU"
        raise InputError(f"runtime.device: {fault}{reason and f' ({reason})'}; allowed here: auto, cpu")
    if reason:
        print(f"runtime.device: auto takes the CPU: {reason}", file=sys.stderr)
    return seen


def without_code(built: Sequence[str], capabilities: Sequence[tuple[int, int]]) -> str:
    """What to say where a torch ``built`` for such as sm_75 or compute_90 runs on none of the GPUs, else nothing."""
    kinds = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", name) for name in built]
    kinds = [(kind[1], int(kind[2]), int(kind[3])) for kind in kinds if kind]

    def runs(major: int, minor: int) -> bool:
        return any(
            (kind == "sm" and first == major and second <= minor)
            or (kind == "compute" and (first, second) <= (major, minor))
            for kind, first, second in kinds
        )

    if not kinds or not capabilities or any(runs(*capability) for capability in capabilities):
        return ""
    (major, minor), known = capabilities[0], sorted({(first, second) for _, first, second in kinds})
    least, most = (".".join(map(str, kind)) for kind in (known[0], known[-1]))
    return f"this torch has no code for a GPU of compute capability {major}.{minor}, but for {least} to {most}"


def _capabilities() -> list[tuple[int, int]]:
    """Of each GPU, by its driver: torch would begin to use one to say it."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [(int(major), int(minor)) for major, minor in re.findall(r"^(\d+)\.(\d+)$", told, re.M)]


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
