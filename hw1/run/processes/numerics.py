"""The numerics of a process: the same bytes on every x86-64 CPU with AVX2, or as fast as this one can.

``runtime.numerics`` of the parameters says which. Libraries choose their kernels while they are loaded, by the CPU and
by environment variables. So a program settles these before it imports torch or numpy; :func:`settle` is called by the
packages that are run (stages, hw1.predict, benchmarks) and by the tests. docs/numerics.md says what is guaranteed.
"""

import os
import platform
import sys
from pathlib import Path

from hw1.run.environment import first_to_tell
from hw1.run.parameters.params import load

CPUINFO = Path("/proc/cpuinfo")
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
    flags: set[str] = set()
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            flags.update(line.partition(":")[2].split())
    missing = [name.upper() for name in NEEDED if name not in flags]
    return [f"the CPU has no {' and no '.join(missing)}"] if missing else []
