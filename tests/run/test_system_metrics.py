"""Looks at the machine beside a training."""

import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest

from hw1.run import system_metrics
from hw1.run.system_metrics import Sampler

NAMES = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
}


def looks(interval: float, seconds: float, monkeypatch) -> list[tuple[int, dict]]:
    """What a sampler saw in so many seconds."""
    monkeypatch.setattr(system_metrics, "INTERVAL", interval)
    seen = []
    sampler = Sampler(lambda look, metrics: seen.append((look, metrics)))
    time.sleep(seconds)
    sampler.stop()
    return seen


def test_shortest_training_has_one_look_under_the_names_of_mlflows_monitor(monkeypatch):
    ((look, metrics),) = looks(10.0, 0.2, monkeypatch)
    assert look == 0 and set(metrics) == NAMES
    memory = psutil.virtual_memory()
    assert metrics["system/system_memory_usage_percentage"] == pytest.approx(100 * memory.used / memory.total, abs=10)
    assert metrics["system/system_memory_usage_megabytes"] == pytest.approx(memory.used / 1e6, rel=0.5)


def test_use_of_the_cpu_is_counted(monkeypatch):
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        ((_, metrics),) = looks(10.0, 0.5, monkeypatch)
        busy.kill()
    assert metrics["system/cpu_utilization_percentage"] > 0


def test_looks_are_numbered_and_go_on(monkeypatch):
    seen = looks(0.02, 0.5, monkeypatch)
    assert [look for look, _ in seen] == list(range(len(seen))) and len(seen) >= 3


def test_a_month_has_under_500_looks_and_the_first_minute_six(monkeypatch):
    now, seen = 0.0, 0
    month = 30 * 24 * 3600

    class Ended:
        def wait(self, seconds):
            nonlocal now
            now += seconds
            return now >= month

    def count(look, metrics):
        nonlocal seen
        seen += 1
        if seen == 6:
            assert now == 60

    monkeypatch.setattr(system_metrics, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(system_metrics, "_machine", dict)
    sampler = Sampler.__new__(Sampler)
    sampler._write, sampler._looks, sampler._ended, sampler._gpus = count, 0, Ended(), []
    sampler._run()
    assert 300 < seen < 500


def test_without_psutil_nothing_is_seen_and_nothing_raised(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert looks(0.01, 0.1, monkeypatch) == []


def test_look_that_fails_ends_the_looking_in_silence(monkeypatch, capfd):
    def full(look, metrics):
        raise OSError("no space left")

    monkeypatch.setattr(system_metrics, "INTERVAL", 0.01)
    Sampler(full)
    for thread in threading.enumerate():
        if thread.name == "system metrics":
            thread.join(5)
            assert not thread.is_alive()
    assert capfd.readouterr() == ("", "")


def test_sampler_does_not_keep_its_process():
    code = "from hw1.run.system_metrics import Sampler; Sampler(print)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=9)  # less than the first interval


class Nvml:
    """NVIDIA's library as far as it is asked."""

    nvmlInit = staticmethod(lambda: None)
    nvmlDeviceGetHandleByUUID = staticmethod(lambda uuid: uuid)
    nvmlDeviceGetMemoryInfo = staticmethod(lambda gpu: SimpleNamespace(used=3e9))
    nvmlDeviceGetUtilizationRates = staticmethod(lambda gpu: SimpleNamespace(gpu=87))
    nvmlDeviceGetPowerUsage = staticmethod(lambda gpu: 250_000)


@pytest.fixture
def cuda(monkeypatch):
    """Torch with eight GPUs, of which this process uses the sixth."""
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 8,
        current_device=lambda: 5,
        get_device_properties=lambda gpu: SimpleNamespace(uuid=f"a-{gpu}", total_memory=12e9),
        memory_reserved=lambda gpu: 6e9,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.delitem(os.environ, "LOCAL_WORLD_SIZE", raising=False)
    return cuda


def test_only_the_gpus_in_use_are_looked_at(cuda, monkeypatch):
    assert system_metrics._gpus_in_use() == [5]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert system_metrics._gpus_in_use() == [0, 1]
    cuda.is_initialized = lambda: False  # runtime.device: cpu
    assert system_metrics._gpus_in_use() == []


def test_gpu_is_told_by_nvidias_library(cuda, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml)
    assert system_metrics._gpu_metrics([5]) == {
        "gpu_5_memory_usage_megabytes": 3000.0,
        "gpu_5_utilization_percentage": 87.0,
        "gpu_5_power_usage_watts": 250.0,
        "gpu_5_memory_usage_percentage": 25.0,
    }


def test_gpu_without_that_library_has_the_memory_that_torch_holds(cuda, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert system_metrics._gpu_metrics([5]) == {
        "gpu_5_memory_usage_megabytes": 6000.0,
        "gpu_5_memory_usage_percentage": 50.0,
    }
