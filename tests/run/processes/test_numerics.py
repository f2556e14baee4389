"""The variables by which a process computes what others do, and what is said where it cannot."""

import os
import subprocess
import sys

import pytest
from closure import ROOT

from hw1.run import environment
from hw1.run.processes import numerics
from hw1.run.processes.numerics import ALWAYS, OVERRULED, PORTABLE, obstacles, pin, pinned, settle

FLAGS = "processor : 0\nflags : fpu sse4_2 {}\n"


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


def test_native_numerics_leave_the_users_variables_but_for_numpys():
    os.environ |= {"OMP_NUM_THREADS": "7", "MKL_CBWR": "AUTO"}
    pin("native", threads=0)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_CBWR"]) == ("7", "AUTO")
    assert {name: os.environ[name] for name in ALWAYS} == ALWAYS
    assert not pinned()


def test_threads_asked_for_hold_in_native_numerics_too():
    pin("native", threads=2)
    assert os.environ["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize("preset, portable", [("quick", True), ("paper", False)])
def test_preset_settles_its_numerics(preset, portable):
    settle(ROOT / f"presets/{preset}.yaml")
    assert pinned() is portable


def test_settled_process_has_avx2_kernels_on_one_thread_and_numpy_its_oldest():
    program = (
        "from hw1.run.processes.numerics import settle; settle()\n"
        "import torch, numpy\n"
        "from numpy._core._multiarray_umath import __cpu_features__ as features\n"
        "print(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), features['X86_V3'])"
    )
    user = {"ATEN_CPU_CAPABILITY": "avx512", "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ | user, capture_output=True, text=True, check=True
    )
    assert done.stdout == "AVX2 1 False\n" and done.stderr == ""


@pytest.mark.parametrize(
    "machine, flags, reasons",
    [
        ("x86_64", "avx2 fma", []),
        ("x86_64", "avx fma", ["the CPU has no AVX2"]),
        ("x86_64", "avx", ["the CPU has no AVX2 and no FMA"]),
        ("aarch64", "neon", ["the CPU is aarch64, not x86-64"]),
    ],
)
def test_obstacles_name_what_this_machine_lacks(machine, flags, reasons, monkeypatch, tmp_path):
    monkeypatch.setattr(numerics.platform, "machine", lambda: machine)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(FLAGS.format(flags))
    assert obstacles(cpuinfo) == reasons


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
