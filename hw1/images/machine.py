"""Device, precision and seed of a run."""

import contextlib
import ctypes
import os
import platform
from dataclasses import dataclass

import torch
from torch import nn

from hw1.images.kernels import by_onednn
from hw1.run.errors import InputError
from hw1.run.parameters.params import Runtime
from hw1.run.processes.gpus import GIB, is_out_of_memory, sees_gpu
from hw1.run.processes.numerics import pinned, tell_unportable
from hw1.run.processes.ranks import world

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h


@dataclass(frozen=True)
class Machine:
    """The device and precision of a run.

    ``autocast_dtype`` None means plain float32; a data set that takes at most ``resident_share`` of the
    GPU's free memory lives there; ``portable``: networks on it give the same bytes on every CPU.
    """

    device: torch.device
    autocast_dtype: torch.dtype | None
    resident_share: float
    portable: bool = False

    def place(self, module: nn.Module, key: str = "runtime.device") -> nn.Module:
        """The module on the device, its convolutions' weights in channels_last.

        Raises:
            InputError: its weights do not fit in the device's memory; it names ``key``, by which they are chosen.
        """
        if self.portable:
            by_onednn(module)
        try:
            return module.to(self.device, memory_format=torch.channels_last)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        size = sum(tensor.nbytes for tensor in module.state_dict().values()) / GIB
        fault = f"the network's {size:.2g} GiB of weights do not fit in the free memory of {self.name}"
        raise InputError(f"{key}: {fault}; take a smaller network, free the device, or set runtime.device: cpu")

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
        """Facts of the machine for a tracked run."""
        tags = {"device": self.name, "precision": "fp32" if self.autocast_dtype is None else "bf16"}
        if world() > 1:
            tags |= {"ranks": str(world()), "batch_norm": "synchronised"}
        return tags | ({"version.cuda": torch.version.cuda} if self.device.type == "cuda" else {})


def start(runtime: Runtime, seed: int) -> Machine:
    """Choose device and precision, seed torch's global generator (initial weights, dropout).

    Raises:
        InputError: runtime.device is cuda and there is none.
    """
    on_gpu = runtime.device != "cpu" and sees_gpu(required=runtime.device == "cuda")
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = not runtime.deterministic
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
        torch.use_deterministic_algorithms(True)
        # It would also fill every new tensor (BYOL's step of 1,685 kernels has 4,544 then, counted on the fake GPU);
        # nothing here reads what it did not write.
        torch.utils.deterministic.fill_uninitialized_memory = False
    if not on_gpu:
        _keep_freed_memory()
        if runtime.threads:
            torch.set_num_threads(runtime.threads)
    portable = runtime.numerics == "portable" and not on_gpu
    if runtime.numerics == "portable" and on_gpu:
        tell_unportable("this runs on a GPU")
    if portable and not pinned():
        raise RuntimeError("portable numerics: call hw1.run.processes.numerics.settle before torch is imported")
    wants_bf16 = runtime.precision == "bf16" or (runtime.precision == "auto" and not portable and _has_bf16(device))
    # fp32 means all 24 bits, in convolutions too, which torch would compute with TF32's 11; who wants speed takes bf16.
    torch.backends.cudnn.allow_tf32 = wants_bf16
    torch.backends.cuda.matmul.allow_tf32 = False
    return Machine(device, torch.bfloat16 if wants_bf16 else None, runtime.resident_share, portable)


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
    """Tell if bf16 runs in hardware: on CPUs AVX512-BF16 or AMX, on NVIDIA GPUs Ampere and later."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
