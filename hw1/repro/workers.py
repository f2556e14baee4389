"""How many stages this machine can run at a time."""

import ctypes
import subprocess
import sys

from hw1.run.parameters.params import Params
from hw1.run.processes.numerics import cores

MEMORY = 1.5 * 2**30  # bytes of main memory for a stage, quick's largest takes 1.1 GiB


def default_jobs(params: Params) -> int:
    """As many as there are GPUs for, or where none is used as the cores and the memory are enough for."""
    per_stage = params.launch.devices
    if params.runtime.device != "cpu" and (gpus := _gpus()):
        return max(1, gpus * params.launch.trainings_per_gpu // per_stage)
    threads = params.runtime.threads or cores()
    return max(1, min(cores() // (threads * per_stage), int(_available_memory() // MEMORY)))


def _gpus() -> int:
    """How many torch sees; it is not loaded into this process, and not at all without a driver."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    command = [
        sys.executable,
        "-c",
        "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 else 0


def _available_memory() -> int:
    import psutil  # comes with dvc

    return psutil.virtual_memory().available
