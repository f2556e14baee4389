"""Build the fake GPU for the torch that is installed, and the environment in which processes see it."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = ("torch_cuda", "torch_cuda_linalg", "c10_cuda", "caffe2_nvrtc", "torch_python")
WANTED = re.compile(r" U (cu(?:blas|da|[A-Z])\w*)", re.MULTILINE)
HEADERS = (
    ("nvidia/*/include", "cuda_runtime_api.h"),
    ("nvidia/*/include", "cublasLt.h"),
    ("triton/backends/nvidia/include", "crt/host_defines.h"),
)
NAME = "libcuda.so.1"


def missing() -> str:
    """Why no fake GPU can be built here; empty if one can."""
    for tool in ("gcc", "nm"):
        if not shutil.which(tool):
            return f"no {tool} to build a fake GPU with"
    if not (_torch() / "lib/libtorch_cuda.so").is_file():
        return "the installed torch has no CUDA: its CUDA build is what the fake GPU stands under"
    return "" if len(_headers()) == len(HEADERS) else "the installed torch came without CUDA's headers"


def build(folder: Path) -> None:
    """Leave the library in ``folder``."""
    listed = [
        subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True).stdout
        for library in (_torch() / f"lib/lib{name}.so" for name in LIBRARIES)
        if library.is_file()
    ]
    source = (HERE / "gpu.c").read_text()
    others = sorted(name for name in set(WANTED.findall("\n".join(listed))) if not re.search(rf"\b{name}\b", source))
    # Under another name in C, since the headers declare most of them with arguments.
    lines = [f'int other_{name}(void) __asm__("{name}"); int other_{name}(void) {{ return 0; }}' for name in others]
    (folder / "others.inc").write_text("\n".join(lines) + "\n")
    options = ["-O1", "-w", "-shared", "-fPIC", *(f"-I{path}" for path in (*_headers(), folder)), f"-Wl,-soname,{NAME}"]
    command = ["gcc", *options, "-o", folder / NAME, HERE / "gpu.c", "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True, text=True)


def environment(folder: Path) -> dict[str, str]:
    """Variables that put the fake GPU of ``folder`` under a process, and torch's convolutions past cuDNN."""
    paths = (str(HERE / "hook"), str(HERE.parents[1]), os.environ.get("PYTHONPATH", ""))
    return {
        "LD_PRELOAD": str(folder / NAME),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("LD_LIBRARY_PATH", "")))),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TMPDIR": str(folder),  # where locks say which GPU is free: other tests have a fake one as well
        "HW1_TRACKING": "off",
        "OMP_NUM_THREADS": "1",
    }


def _torch() -> Path:
    return Path(importlib.util.find_spec("torch").submodule_search_locations[0])


def _headers() -> list[Path]:
    """The folders of CUDA's headers that the wheels brought, one for each of HEADERS."""
    packages = _torch().parent
    found = ([path for path in sorted(packages.glob(folder)) if (path / file).is_file()] for folder, file in HEADERS)
    return [paths[0] for paths in found if paths]
