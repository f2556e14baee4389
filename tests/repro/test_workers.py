"""How many stages at a time a machine is taken to be good for."""

from dataclasses import replace

import pytest
from closure import ROOT

from hw1.repro import workers
from hw1.repro.workers import default_jobs
from hw1.run.parameters.params import load

PARAMS = load(ROOT / "presets/quick.yaml")


@pytest.fixture
def machine(monkeypatch):
    def script(cores, gib=999, gpus=0):
        monkeypatch.setattr(workers, "cores", lambda: cores)
        monkeypatch.setattr(workers, "_gpus", lambda: gpus)
        monkeypatch.setattr(workers, "_available_memory", lambda: gib * 2**30)

    return script


def params(threads=1, devices=1, per_gpu=1, device="auto"):
    runtime = replace(PARAMS.runtime, numerics="native", threads=threads, device=device)
    return replace(PARAMS, runtime=runtime, launch=replace(PARAMS.launch, devices=devices, trainings_per_gpu=per_gpu))


@pytest.mark.parametrize(
    "cores, gib, threads, devices, jobs",
    [(8, 999, 1, 1, 8), (8, 999, 2, 1, 4), (8, 999, 0, 1, 1), (8, 999, 2, 2, 2), (8, 5, 1, 1, 3), (1, 1, 1, 1, 1)],
)
def test_cpus_are_shared_by_threads_and_memory(machine, cores, gib, threads, devices, jobs):
    machine(cores, gib)
    assert default_jobs(params(threads, devices)) == jobs


@pytest.mark.parametrize("gpus, devices, per_gpu, jobs", [(4, 1, 1, 4), (4, 2, 1, 2), (4, 1, 3, 12), (1, 4, 1, 1)])
def test_gpus_are_shared_by_devices_of_a_training(machine, gpus, devices, per_gpu, jobs):
    machine(8, gpus=gpus)
    assert default_jobs(params(0, devices, per_gpu)) == jobs
    assert default_jobs(params(0, devices, per_gpu, device="cpu")) == 1
