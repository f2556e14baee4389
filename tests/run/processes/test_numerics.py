"""Settings before torch is loaded: variables by which a process computes what others do, and no compiler."""

import json
import os
import platform
import subprocess
import sys

import pytest
import torch
from closure import ROOT

from hw1.run import environment
from hw1.run.environment import installed
from hw1.run.processes import numerics
from hw1.run.processes.numerics import ALWAYS, OVERRULED, PORTABLE, cores, cpu, model, obstacles, pin, pinned, settle

X86 = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.00GHz\nflags\t: fpu {}\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\n"


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """The process's own, put back afterwards, without any that a test sets."""
    before = dict(os.environ)
    for name in [*PORTABLE, *ALWAYS, "OMP_NUM_THREADS"]:
        monkeypatch.delenv(name, raising=False)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_portable_numerics_overrule_what_the_user_has_set():
    os.environ |= {"OMP_NUM_THREADS": "7", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}
    pin("portable", threads=3)
    assert {name: value for name, value in os.environ.items() if name.startswith(OVERRULED)} == {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "COMPATIBLE",
        "OMP_NUM_THREADS": "3",
    }
    assert pinned()


@pytest.mark.parametrize("threads, used", [(0, "7"), (2, "2")])
def test_native_numerics_leave_the_users_variables_but_for_numpys_and_the_threads_asked_for(threads, used):
    os.environ |= {"OMP_NUM_THREADS": "7", "MKL_CBWR": "AUTO"}
    pin("native", threads=threads)
    assert os.environ.items() >= {"OMP_NUM_THREADS": used, "MKL_CBWR": "AUTO", **ALWAYS}.items()
    assert not pinned()


@pytest.mark.parametrize("preset, portable", [("quick", True), ("paper", False)])
def test_preset_settles_its_numerics(preset, portable):
    settle(ROOT / f"presets/{preset}.yaml")
    assert pinned() is portable


def output(program, folder=ROOT, **variables):
    """The words that a process of its own prints, which says nothing else."""
    command, variables = [sys.executable, "-c", program], os.environ | {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_settled_process_has_avx2_kernels_on_one_thread_and_numpy_its_oldest():
    program = """
from hw1.run.processes.numerics import settle; settle()
import torch, numpy
from numpy._core._multiarray_umath import __cpu_features__ as features
print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), features['X86_V3'])
"""
    assert output(program, ATEN_CPU_CAPABILITY="avx512", OMP_NUM_THREADS="2") == ["AVX2", "1", "False"]


@pytest.mark.parametrize(
    "machine, flags, reasons",
    [
        ("x86_64", "avx2 fma", []),
        ("x86_64", "avx", ["the CPU has no AVX2 and no FMA"]),
        ("aarch64", "neon", ["the CPU is aarch64, not x86-64"]),
    ],
)
def test_obstacles_name_what_this_machine_lacks(machine, flags, reasons, monkeypatch, tmp_path):
    monkeypatch.setattr(numerics.platform, "machine", lambda: machine)
    (tmp_path / "cpuinfo").write_text(X86.format(flags))
    assert obstacles(tmp_path / "cpuinfo") == reasons


def test_obstacle_is_told_once_in_a_repro(monkeypatch, capsys, tmp_path):
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    monkeypatch.setenv("DVC_STAGE", "finetune@A")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(environment, "repro", lambda: "1-2")
    monkeypatch.setattr(numerics, "obstacles", lambda: ["the CPU has no AVX2"])
    for _ in range(2):
        settle(ROOT / "presets/quick.yaml")
    settle(ROOT / "presets/paper.yaml")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("runtime.numerics: portable, but the CPU has no AVX2; ")


# -- the CPU


@pytest.mark.parametrize("flags, said", [("avx2", "AVX512"), ("avx2 amx_tile", "AVX512, AMX")])
def test_cpu_has_the_name_that_linux_gives_and_the_instructions_that_torch_computes_with(
    flags, said, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    (tmp_path / "cpuinfo").write_text(X86.format(flags))
    assert cpu(tmp_path / "cpuinfo") == f"Intel(R) Xeon(R) CPU @ 2.00GHz, {said}"


def test_architecture_stands_in_for_a_name(tmp_path):
    (tmp_path / "arm").write_text(ARM)
    (tmp_path / "blank").write_text("model name\t: \n")
    assert {model(tmp_path / name) for name in ("arm", "blank", "absent")} == {platform.machine()}


@pytest.mark.parametrize(
    "text, most", [("150000 100000", 1), ("max 100000", 999), ("900000000 100000", 999), ("x", 999)]
)
def test_container_has_the_cores_that_it_is_given(tmp_path, text, most):
    (tmp_path / "cpu.max").write_text(text)
    assert cores(tmp_path / "cpu.max") == min(most, cores(tmp_path / "none"))


# -- torch's compiler


def test_stand_in_is_all_that_a_network_an_optimiser_and_its_step_need_and_gives_way_to_the_compiler():
    """It fails when torch's private names that the stand-in answers for move."""
    program = """
from hw1.run.processes.numerics import stand_in; stand_in()
import torch, sys
from torchvision.models import resnet18
network = torch.nn.Linear(2, 2)
optimiser = torch.optim.Adam(network.parameters(), fused=True)
network(torch.ones(1, 2)).sum().backward(); optimiser.step(); optimiser.zero_grad()
print(type(sys.modules['torch._dynamo']).__name__, 'sympy' in sys.modules)
print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item())
print(type(sys.modules['torch._dynamo']).__name__)
"""
    assert output(program) == ["_StandIn", "False", "2.0", "module"]


@pytest.mark.parametrize("torch_of_file, left_out", [({}, "True"), ({"torch": "2.11.0"}, "False")])
def test_another_torch_than_the_one_tried_keeps_its_compiler(torch_of_file, left_out, tmp_path):
    (tmp_path / "environment.json").write_text(json.dumps(installed() | torch_of_file))
    program = "from hw1.run.processes.numerics import leave_out; leave_out()\n"
    assert output(program + "import sys; print('torch._dynamo' in sys.modules)", tmp_path) == [left_out]
