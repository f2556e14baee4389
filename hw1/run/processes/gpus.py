"""The GPUs a process may use, and what fits in memory.

Where several processes train at once, a process uses the GPUs it holds a lock on. A GPU is free while fewer than
``launch.trainings_per_gpu`` processes hold it. A process takes the least used ones first, in torch's order, and waits
where too few are free. The kernel lifts the locks of a process that ends.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import starmap
from pathlib import Path

import torch

from hw1.run.errors import InputError
from hw1.run.files import lock

POLL = 1.0  # seconds
GIB = 1 << 30
SMALLEST = 2  # images; BatchNorm cannot train on one

_held: list[int] = []  # descriptors, open for the life of the process


def sees_gpu(required: bool = False) -> bool:
    """Tell whether torch can use a GPU; of one that it cannot use (its driver is older than torch's CUDA, torch has no
    code for its kind), say in one line what to install.

    Raises:
        InputError: it cannot, and one is ``required``.
    """
    with warnings.catch_warnings(record=True) as caught:  # of torch, once in a process, in many words
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    reason = str(caught[0].message).removeprefix("CUDA initialization: ").partition(". ")[0] if caught else ""
    if usable and (lacking := without_code(torch.cuda.get_arch_list(), _capabilities())):
        usable, reason = False, lacking
    if reason:
        reason += f"; torch {torch.__version__} is for CUDA {torch.version.cuda}, docs/usage.md says how to get another"
    if required and not usable:
        fault = "got cuda, but torch sees no GPU"
        raise InputError(f"runtime.device: {fault}{reason and f' ({reason})'}; allowed here: auto, cpu")
    if reason:
        print(f"runtime.device: auto takes the CPU: {reason}", file=sys.stderr)
    return usable


def without_code(built: Sequence[str], capabilities: Sequence[tuple[int, int]]) -> str:
    """The reason why a torch ``built`` for such as sm_75 or compute_90 runs on none of the GPUs; empty if on one."""
    names = filter(None, (re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", name) for name in built))
    kinds = [(name[1], int(name[2]), int(name[3])) for name in names]

    def runs(major: int, minor: int) -> bool:
        return any(
            first == major and second <= minor if kind == "sm" else (first, second) <= (major, minor)
            for kind, first, second in kinds
        )

    if not kinds or not capabilities or any(starmap(runs, capabilities)):
        return ""
    known = sorted(kind[1:] for kind in kinds)
    gpu, least, most = ("{}.{}".format(*kind) for kind in (capabilities[0], known[0], known[-1]))
    return f"this torch has no code for a GPU of compute capability {gpu}, but for {least} to {most}"


def _capabilities() -> list[tuple[int, int]]:
    """Compute capability of each GPU, by its driver: torch would begin to use one to say it."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [(int(major), int(minor)) for major, minor in re.findall(r"^(\d+)\.(\d+)$", listed, re.M)]


def names(count: int) -> list[str]:
    """Names, in CUDA_VISIBLE_DEVICES, of the ``count`` GPUs that torch sees."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return (visible.split(",") if visible else [str(index) for index in range(count)])[:count]


def take(visible: Sequence[str], count: int, per_gpu: int, folder: Path | None = None) -> list[str]:
    """Hold ``count`` of the ``visible`` GPUs until the process ends; waits until as many are free.

    The locks lie in ``folder``, by default one of the user's in the machine's temporary folder. A job of SLURM has its
    own: each job has other GPUs, and may call them by the same numbers.
    """
    job = f"-{number}" if (number := os.environ.get("SLURM_JOB_ID")) else ""
    folder = folder or Path(tempfile.gettempdir()) / f"hw1-gpus-{os.getuid()}{job}"
    folder.mkdir(mode=0o700, exist_ok=True)
    waiting = False
    while True:
        held: dict[str, int] = {}
        for slot in range(per_gpu):
            for name in visible:
                if len(held) < count and name not in held:  # a part of a GPU may be called MIG-GPU-.../1/0
                    held |= _try(folder / f"{name.replace('/', '_')}.{slot}", name)
        if len(held) == count:
            _held.extend(held.values())
            return [name for name in visible if name in held]
        for descriptor in held.values():
            os.close(descriptor)
        if not waiting:
            print(f"launch: waiting for {count} of the GPUs {', '.join(visible)} to become free", file=sys.stderr)
            waiting = True
        time.sleep(POLL)


def _try(path: Path, name: str) -> dict[str, int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if lock(descriptor, wait=False):
        return {name: descriptor}
    os.close(descriptor)
    return {}


# -- memory


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether torch raised ``error`` for want of memory, of a GPU or of the machine."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """Raise InputError in place of torch's own error, where nobody could say which parameter to change."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        room = "the memory is full"
        if torch.cuda.is_initialized():
            free, total = (size / GIB for size in torch.cuda.mem_get_info())
            room = f"{free:.1f} of {total:.1f} GiB of {torch.cuda.get_device_name()} are free, which is not enough"
        advice = "smaller batches or images, a device that nobody else uses, or cpu"
        raise InputError(f"runtime.device: {room}; take {advice}") from None


def largest_batch(step: Callable[[int], object], too_many: int) -> int:
    """The most images a step can take, below ``too_many``, to within an eighth; 0 if not even two fit.

    ``step(n)`` trains on n images. Halves the batch until a step succeeds, then closes in from both sides.
    """
    fits = 0
    while too_many - fits > max(1, too_many // 8) and too_many > SMALLEST:
        size = max(SMALLEST, (fits + too_many) // 2)
        try:
            step(size)
            fits = size
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            too_many = size
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return fits
