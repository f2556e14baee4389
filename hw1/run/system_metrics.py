"""How busy the machine is while a stage trains, under the names by which MLflow shows it as system metrics.

A daemon thread looks at it, at first every 10 s, later at every fiftieth of the time passed: under 500 looks in a
month, a few milliseconds each. Without psutil there is nothing to see; what fails ends the looking and nothing else.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping

INTERVAL = 10.0  # seconds between two looks, the shortest
SHARE = 1 / 50  # of the time passed, between two looks
MEGABYTE = 1e6  # bytes, as MLflow counts them


class Sampler:
    """Gives ``write`` a number of the look and what was seen, until it is stopped or the process ends."""

    def __init__(self, write: Callable[[int, Mapping[str, float]], None]):
        self._write, self._looks = write, 0
        self._ended, self._gpus = threading.Event(), _gpus_in_use()
        self._thread = threading.Thread(target=self._run, daemon=True, name="system metrics")
        with contextlib.suppress(RuntimeError):  # a machine that gives no more threads
            self._thread.start()

    def stop(self) -> None:
        """A last look, so that the shortest training has one."""
        if self._thread.is_alive():
            self._ended.set()
            self._thread.join(timeout=1.0)  # a driver that hangs must not keep the stage

    def _run(self) -> None:
        began = time.monotonic()
        with contextlib.suppress(Exception):
            _machine()  # psutil counts the CPU's use from a thread's first call
            while not self._ended.wait(max(INTERVAL, (time.monotonic() - began) * SHARE)):
                self._look()
            self._look()

    def _look(self) -> None:
        seen = _machine() | _gpu_metrics(self._gpus)
        self._write(self._looks, {f"system/{key}": value for key, value in seen.items()})
        self._looks += 1


def _machine() -> dict[str, float]:
    """The CPUs' use since the last call in percent, and the memory in use."""
    import psutil

    memory = psutil.virtual_memory()
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / MEGABYTE,
        "system_memory_usage_percentage": 100 * memory.used / memory.total,
    }


def _gpus_in_use() -> list[int]:
    """Torch's numbers of the GPUs that this training uses: this process's own, or one for each rank of the machine."""
    torch = sys.modules.get("torch")  # a stage without it has no GPU
    if torch is None or not torch.cuda.is_initialized():
        return []
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return list(range(min(ranks, torch.cuda.device_count()))) if ranks > 1 else [torch.cuda.current_device()]


def _gpu_metrics(gpus: list[int]) -> dict[str, float]:
    """Use and memory of each GPU by NVIDIA's library, where it is installed; else the memory that torch holds."""
    seen: dict[str, float] = {}
    for gpu in gpus:
        cuda = sys.modules["torch"].cuda
        facts, told = cuda.get_device_properties(gpu), {}
        with contextlib.suppress(Exception):  # not installed, of another driver, a part of a GPU that tells no use
            told = _told_by_nvidia(f"GPU-{facts.uuid}")
        used = told.setdefault("memory_usage_megabytes", cuda.memory_reserved(gpu) / MEGABYTE)
        told["memory_usage_percentage"] = 100 * used * MEGABYTE / facts.total_memory
        seen |= {f"gpu_{gpu}_{key}": value for key, value in told.items()}
    return seen


def _told_by_nvidia(uuid: str) -> dict[str, float]:
    """Memory, use and power of a whole GPU."""
    import pynvml

    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    return {
        "memory_usage_megabytes": pynvml.nvmlDeviceGetMemoryInfo(gpu).used / MEGABYTE,
        "utilization_percentage": float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
        "power_usage_watts": pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    }
