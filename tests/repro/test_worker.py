"""The number of stages at a time that a machine is taken to be good for."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from closure import ROOT

from hw1.repro import worker
from hw1.run.parameters.params import load

PARAMS = load(ROOT / "presets/quick.yaml")


@pytest.mark.parametrize(
    "cores, gib, gpus, threads, devices, per_gpu, jobs, jobs_on_cpus",
    [
        *((8, 999, 0, 1, 1, 1, 8, 8), (8, 999, 0, 2, 1, 1, 4, 4), (8, 999, 0, 0, 1, 1, 1, 1)),
        *((8, 999, 0, 2, 2, 1, 2, 2), (8, 5, 0, 1, 1, 1, 3, 3), (1, 1, 0, 1, 1, 1, 1, 1)),
        *((8, 999, 4, 0, 1, 1, 4, 1), (8, 999, 4, 0, 2, 1, 2, 1), (8, 999, 4, 0, 1, 3, 12, 1)),
        (8, 999, 1, 0, 4, 1, 1, 1),
    ],
)
def test_machine_is_shared_by_threads_memory_and_gpus(
    cores, gib, gpus, threads, devices, per_gpu, jobs, jobs_on_cpus, monkeypatch
):
    monkeypatch.setattr(worker, "cores", lambda: cores)
    monkeypatch.setattr(worker, "_gpus", lambda: gpus)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=gib * 2**30))
    launch = replace(PARAMS.launch, devices=devices, trainings_per_gpu=per_gpu)
    for device, wanted in (("auto", jobs), ("cpu", jobs_on_cpus)):
        runtime = replace(PARAMS.runtime, numerics="native", threads=threads, device=device)
        assert worker.default_jobs(replace(PARAMS, runtime=runtime, launch=launch)) == wanted
