"""What a run computes on, on a machine without GPU."""

import warnings

import pytest
import torch
from torch import nn

from hw1.images import machine as runtime
from hw1.images.machine import Machine, start
from hw1.run.errors import InputError
from hw1.run.parameters.params import Runtime


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch):
    """No GPU to be seen, and torch's switches as they were afterwards."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    switches = [(torch.backends.cudnn, "benchmark"), (torch.backends.cudnn, "allow_tf32")]
    switches += [(torch.backends.cuda.matmul, "allow_tf32"), (torch.utils.deterministic, "fill_uninitialized_memory")]
    before = [getattr(*switch) for switch in switches]
    yield
    for switch, value in zip(switches, before, strict=True):
        setattr(*switch, value)
    torch.use_deterministic_algorithms(False)


def started(device="auto", precision="fp32", deterministic=False, seed=1):
    return start(Runtime("native", 1, device, precision, deterministic, 0.25), seed)


def product(machine):
    with machine.autocast():
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("precision, dtype", [("fp32", None), ("bf16", torch.bfloat16)])
def test_machine_without_gpu_is_the_cpu_in_the_precision_asked_for(device, precision, dtype):
    machine = started(device, precision)
    assert machine == Machine(torch.device("cpu"), dtype, 0.25)
    assert product(machine) == (dtype or torch.float32)
    assert "threads" in machine.name
    assert machine.tags == {"device": machine.name, "precision": precision}


def test_cuda_without_gpu_names_its_key():
    with pytest.raises(InputError, match=r"runtime\.device: got cuda, but torch sees no GPU"):
        started("cuda")


@pytest.mark.parametrize("hardware, dtype", [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_takes_bf16_where_the_hardware_has_it(monkeypatch, hardware, dtype):
    monkeypatch.setattr(runtime, "_has_bf16", lambda device: hardware)
    assert product(started(precision="auto")) == dtype


def test_seed_decides_every_draw():
    draws = []
    for seed in (1, 1, 2):
        started(seed=seed)
        draws.append(torch.rand(4).tolist())
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("deterministic", [True, False])
def test_deterministic_reaches_torch_and_does_not_fill_every_new_tensor(deterministic):
    started(deterministic=deterministic)
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert torch.backends.cudnn.benchmark == (not deterministic)
    assert not (deterministic and torch.utils.deterministic.fill_uninitialized_memory)


@pytest.mark.parametrize("precision, tf32", [("fp32", False), ("bf16", True)])
def test_fp32_means_no_tf32_and_augmentation_has_none_in_bf16_either(precision, tf32):
    torch.backends.cuda.matmul.allow_tf32 = True
    started(precision=precision)
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert not torch.backends.cuda.matmul.allow_tf32


OLD = "CUDA initialization: The NVIDIA driver is too old (found version 12080). Please update it from the URL: ..."
ANOTHER = f"torch {torch.__version__} is for CUDA {torch.version.cuda}, docs/usage.md says how to get another"


def test_gpu_with_an_old_driver_is_told_in_one_line_and_an_error_where_it_is_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: warnings.warn(OLD, stacklevel=1) or False)
    assert started().device.type == "cpu"
    reason = f"The NVIDIA driver is too old (found version 12080); {ANOTHER}"
    assert capsys.readouterr().err == f"runtime.device: auto takes the CPU: {reason}\n"
    with pytest.raises(InputError) as error:
        started("cuda")
    told = f"runtime.device: got cuda, but torch sees no GPU ({reason}); allowed here: auto, cpu"
    assert str(error.value) == told


def test_network_that_does_not_fit_names_the_key_it_is_chosen_by(monkeypatch):
    network = nn.Linear(1024, 256)
    monkeypatch.setattr(network, "to", lambda *_, **__: torch.empty(2**60, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"^backbone: the network's 0\.00098 GiB of weights do not fit"):
        started().place(network, "backbone")


def test_placed_convolutions_are_channels_last():
    convolution = started().place(nn.Conv2d(3, 4, 3))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
