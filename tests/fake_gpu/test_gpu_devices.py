"""Two fake GPUs: what each process touches, and what several ranks do with their layers and collectives."""

import re

import pytest
from gpu_programs import Program, command_of, set_params

LAUNCH = {"trainings_per_gpu": 1}


@pytest.fixture
def environment(host):
    """Two GPUs, and locks on them that no other test sees."""
    yield {"FAKE_GPUS": "2", "TMPDIR": str(host.folder)}
    set_params(host.folder)


@pytest.mark.parametrize("share", [0.5, 0.0], ids=["resident", "streamed"])
def test_two_trainings_side_by_side_touch_a_gpu_each(host, environment, share):
    set_params(host.folder, launch=LAUNCH, runtime={"resident_share": share})
    stages = ("finetune@A", "classify@A")
    host.start(*(Program(*command_of(stage), environment) for stage in stages))
    ended = host.wait()
    assert [(end.status, end.err) for end in ended] == [(0, "")] * 2
    assert sorted(list(end.devices) for end in ended) == [["0"], ["1"]]


@pytest.mark.parametrize("stage", ["pretrain@byol", "segment@B"])  # both views apart; one batch, and dropout
def test_each_rank_stays_on_its_own_gpu(host, environment, stage):
    set_params(host.folder, launch=LAUNCH | {"devices": 2})
    host.start(Program(*command_of(stage), environment))
    (end,) = host.wait()
    assert (end.status, end.err) == (0, "")
    assert re.findall(r"epoch (\d)/2", end.out) == ["1", "2"]
    # Gloo's own thread, which stands in for NCCL here, makes itself a context on GPU 0 and computes nothing there.
    used = [[gpu for gpu, counts in devices.items() if counts["launches"]] for devices in end.processes]
    assert sorted(used) == [["0"], ["1"]]


def test_rank_that_sees_only_its_own_gpu_takes_that(host, environment):
    """As SLURM shows each task the GPU it has: LOCAL_RANK is 1, and there is one GPU."""
    set_params(host.folder)
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    end = host.run(*command_of("finetune@A"), **environment, **alone, CUDA_VISIBLE_DEVICES="1")
    assert (end.status, end.err) == (0, "")
    assert list(end.devices) == ["1"]
