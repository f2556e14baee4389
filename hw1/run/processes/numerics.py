"""Settings before torch and numpy are loaded: kernels, threads, and torch's compiler left out.

Libraries choose their kernels while they are loaded, by the CPU and by environment variables. ``runtime.numerics`` of
the parameters asks for the same bytes on every x86-64 CPU with AVX2, or for as fast as this one can; docs/numerics.md
says what is guaranteed. :func:`settle` is called by the packages that are run (stages, hw1.predict, benchmarks) and by
the tests.
"""

import importlib
import os
import platform
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from hw1.run.environment import first_to_tell, recorded
from hw1.run.parameters.params import load

CPUINFO = Path("/proc/cpuinfo")
CGROUP = Path("/sys/fs/cgroup/cpu.max")  # of a container's processes: microseconds of a period that they may compute
NEEDED = ("avx2", "fma")  # instructions of the CPU, as Linux names them

# Prefixes of the variables by which a user can change kernels, threads or precision; none of them reaches a library.
OVERRULED = ("ATEN_", "DNNL_", "GOMP_", "KMP_", "MKL_", "OMP_", "ONEDNN_")
PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions and linear layers
    "MKL_CBWR": "COMPATIBLE",  # other matrix products; AVX2 would mean another branch on another vendor's CPU
}
# Data are drawn, counts compared and pictures painted with NumPy: portable whatever the parameters say.
ALWAYS = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_NUM_THREADS": "1",
}
# torch's compiler takes 1.3 s to import. torchvision, torch.optim and DistributedDataParallel only ask it whether it is
# at work. These are the private names of torch that they use: modules of a release that was tried, by environment.json.
COMPILER: dict[str, dict[str, Any]] = {
    "torch._dynamo": {
        "disable": lambda function, *_, **__: function,
        "graph_break": lambda: None,
        "trace_rules": SimpleNamespace(clear_lru_cache=lambda: None),
    },
    "torch._dynamo.utils": {
        "is_compile_supported": lambda device: False,
        "get_optimize_ddp_mode": lambda: "no_optimization",
    },
}


# -- kernels and threads


def settle(path: str | Path = "params.yaml") -> None:
    """Set the variables that ``runtime`` of a parameter file asks for; say in a line what is in their way.

    Raises:
        InputError: a file that :func:`hw1.run.parameters.params.load` refuses.
    """
    runtime = load(path).runtime
    pin(runtime.numerics, runtime.threads)
    if runtime.numerics == "portable" and (reasons := obstacles()):
        tell_unportable("; ".join(reasons))


def tell_unportable(reason: str) -> None:
    """Say in a line on stderr, once for each ``dvc repro``, why results may differ from other machines'."""
    if first_to_tell("numerics"):
        print(f"runtime.numerics: portable, but {reason}; results may differ from other machines'", file=sys.stderr)


def pin(numerics: str, threads: int) -> None:
    """Set the variables of ``numerics``, portable or native, in place of the user's own, and of ``threads``; 0 leaves
    their number to the libraries.
    """
    os.environ |= ALWAYS
    if numerics == "portable":
        for name in [name for name in os.environ if name.startswith(OVERRULED)]:
            del os.environ[name]
        os.environ |= PORTABLE
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def pinned() -> bool:
    """Tell whether this process has the variables of portable numerics."""
    return all(os.environ.get(name) == value for name, value in PORTABLE.items())


def obstacles(cpuinfo: Path = CPUINFO) -> list[str]:
    """Reasons why portable numerics on this machine are not those of others; empty where there are none."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return [f"the CPU is {platform.machine()}, not x86-64"]
    if sys.platform != "linux":
        return [f"the system is {sys.platform}, not Linux"]
    missing = [name.upper() for name in NEEDED if name not in _cpu_says("flags", cpuinfo).split()]
    return [f"the CPU has no {' and no '.join(missing)}"] if missing else []


# -- the CPU


def cpu(cpuinfo: Path = CPUINFO) -> str:
    """Its name and the widest instructions that torch uses on it, such as "Intel(R) Xeon(R) Processor, AVX512, AMX".

    For the record of a training, whose results have its rounding.
    """
    import torch  # loaded by whatever trains; stages that only draw must not

    amx = ("AMX",) if "amx_tile" in _cpu_says("flags", cpuinfo).split() else ()
    return ", ".join((model(cpuinfo), torch.backends.cpu.get_cpu_capability(), *amx))


def model(cpuinfo: Path = CPUINFO) -> str:
    """The CPU's name by Linux; the architecture's where it does not say (arm64, other systems)."""
    return _cpu_says("model name", cpuinfo) or platform.machine()


def _cpu_says(field: str, cpuinfo: Path) -> str:
    """A field of the first core that has it; empty where none has, or the system is not Linux."""
    with suppress(OSError):
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(field):
                return line.partition(":")[2].strip()
    return ""


def cores(quota: Path = CGROUP) -> int:
    """Count the cores that this process may use, by its affinity and by what a container is given."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no such file, or "max" in it
        allowed, period = map(int, quota.read_text().split())
        count = min(count, max(1, allowed // period))
    return count


# -- torch's compiler


class _StandIn(ModuleType):
    """A module of :data:`COMPILER`; asked for anything else, it gives way to torch's own."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and (self.__name__, name) != ("torch._dynamo", "__path__"):  # asked of every module
            raise AttributeError(name)
        for module in COMPILER:
            if isinstance(sys.modules.get(module), _StandIn):
                del sys.modules[module]
        return getattr(importlib.import_module(self.__name__), name)


def leave_out() -> None:
    """Call :func:`stand_in` where torch is the release that it was tried with, by environment.json."""
    if metadata.version("torch").partition("+")[0] == recorded().get("torch"):
        stand_in()


def stand_in() -> None:
    """Say in the compiler's place that it is not at work, unless torch is loaded already."""
    if "torch" in sys.modules:
        return
    for name, answers in COMPILER.items():
        sys.modules[name] = _StandIn(name)
        vars(sys.modules[name]).update(answers)
    sys.modules["torch._dynamo"].utils = sys.modules["torch._dynamo.utils"]
