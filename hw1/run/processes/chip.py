"""The CPU: its name, for the record of a training whose results have its rounding, and the cores that may be used."""

import os
import platform
from contextlib import suppress
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
CGROUP = Path("/sys/fs/cgroup/cpu.max")  # of a container's processes: microseconds of a period that they may compute


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


def cores(quota: Path = CGROUP) -> int:
    """Count the cores that this process may use, by its affinity and by what a container is given."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no such file, or "max" in it
        allowed, period = map(int, quota.read_text().split())
        count = min(count, max(1, allowed // period))
    return count
