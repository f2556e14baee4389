"""The CPU, for the record of a training: its rounding is in the results, so which one it was must be known."""

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def cpu() -> str:
    """Its name and the widest instructions that torch uses on it, such as "Intel(R) Xeon(R) Processor, AVX512, AMX"."""
    import torch  # loaded by whatever trains; stages that only draw must not

    amx = ("AMX",) if torch.cpu._is_amx_tile_supported() else ()
    return ", ".join((model(), torch.backends.cpu.get_cpu_capability(), *amx))


def model(cpuinfo: Path = CPUINFO) -> str:
    """The CPU's name by Linux; the architecture's where it does not say (arm64, other systems)."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, names), platform.machine())
