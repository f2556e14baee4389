"""The machine a benchmark ran on, and the sizes that suit it."""

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from hw1.images.machine import Machine, start
from hw1.run.parameters.params import Runtime

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "lightly", "byol-pytorch", "torchmetrics")


@dataclass(frozen=True)
class Scale:
    """Images per batch and per round, small enough for the machine and large enough to time."""

    byol_batch: int
    byol_images: int
    batch: int
    large_batch: int
    batches: int
    workers: int


CPU = Scale(byol_batch=32, byol_images=128, batch=32, large_batch=2, batches=2, workers=os.cpu_count() or 1)
GPU = Scale(byol_batch=256, byol_images=12_800, batch=64, large_batch=8, batches=40, workers=os.cpu_count() or 1)


def machine(precision: str = "auto", seed: int = 0) -> Machine:
    """The machine as a stage of the pipeline sees it."""
    return start(Runtime("native", 0, "auto", precision, deterministic=False, resident_share=0.5), seed)


def scale() -> Scale:
    return GPU if torch.cuda.is_available() else CPU


def wait(device: torch.device) -> None:
    """Return when the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe() -> dict[str, str]:
    """Chip and versions, for the head of the tables."""
    chip = machine().name
    if not torch.cuda.is_available():
        chip = f"{_processor()}, {os.cpu_count()} cores, no GPU, {_extensions()}"
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "machine": chip,
        "python": platform.python_version(),
        **{name: version for name, version in versions.items() if version},
    }


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _extensions() -> str:
    flags = _cpuinfo("flags").split()
    known = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512f": "AVX512", "avx2": "AVX2"}
    return ", ".join(name for flag, name in known.items() if flag in flags) or "no AVX2"


def _cpuinfo(key: str) -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
