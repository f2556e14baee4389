"""Device, precision and seed of a run."""

import contextlib
import ctypes
import os
import platform
from dataclasses import dataclass

import torch
from torch import nn

from hw1.errors import InputError
from hw1.params import Runtime
from hw1.ranks import world

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h


@dataclass(frozen=True)
class Machine:
    """What a run computes on.

    ``autocast_dtype`` None means plain float32; a data set that takes at most ``resident_share`` of the
    GPU's free memory lives there; ``compile`` is ``runtime.compile`` of the parameters.
    """

    device: torch.device
    autocast_dtype: torch.dtype | None
    resident_share: float
    compile: str = "none"

    def place(self, module: nn.Module) -> nn.Module:
        """The module on the device, its convolutions' weights in channels_last."""
        return module.to(self.device, memory_format=torch.channels_last)

    def autocast(self) -> contextlib.AbstractContextManager:
        if self.autocast_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.autocast_dtype)

    @property
    def name(self) -> str:
        """Chip, for the record: "NVIDIA H200", "x86_64, 2 threads"."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{platform.machine()}, {torch.get_num_threads()} threads"

    @property
    def tags(self) -> dict[str, str]:
        """What a tracked run says of the machine."""
        tags = {"device": self.name, "precision": "fp32" if self.autocast_dtype is None else "bf16"}
        if world() > 1:
            tags |= {"ranks": str(world()), "batch_norm": "synchronised"}
        return tags | ({"version.cuda": torch.version.cuda} if self.device.type == "cuda" else {})


def start(runtime: Runtime, seed: int) -> Machine:
    """Choose device and precision, seed torch's global generator (initial weights, dropout).

    Raises:
        InputError: runtime.device is cuda and there is none.
    """
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise InputError("runtime.device: got cuda, but torch sees no GPU; allowed here: auto, cpu")
    on_gpu = runtime.device != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = not runtime.deterministic
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
        torch.use_deterministic_algorithms(True)
    if not on_gpu:
        _keep_freed_memory()
    wants_bf16 = runtime.precision == "bf16" or (runtime.precision == "auto" and _has_bf16(device))
    return Machine(device, torch.bfloat16 if wants_bf16 else None, runtime.resident_share, runtime.compile)


def _keep_freed_memory() -> None:
    """Let glibc reuse what the last step freed instead of giving it back and asking for it anew.

    Each page asked for anew is filled with zeros by the kernel at its first use, which costs as much as
    the arithmetic on it. Other C libraries are left as they are.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, 2**28)


def _has_bf16(device: torch.device) -> bool:
    """Whether bf16 runs in hardware: on CPUs AVX512-BF16 or AMX, on NVIDIA GPUs Ampere and later."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
