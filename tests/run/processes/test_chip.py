"""The CPU: its name, for the record, and the cores that may be used."""

import platform

import pytest
import torch

from hw1.run.processes.chip import cores, cpu, model

X86 = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.00GHz\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\n"


def test_name_is_the_one_that_linux_gives(tmp_path):
    (tmp_path / "cpuinfo").write_text(X86)
    assert model(tmp_path / "cpuinfo") == "Intel(R) Xeon(R) CPU @ 2.00GHz"


def test_architecture_stands_in_for_a_name(tmp_path):
    (tmp_path / "arm").write_text(ARM)
    (tmp_path / "blank").write_text("model name\t: \n")
    assert {model(tmp_path / name) for name in ("arm", "blank", "absent")} == {platform.machine()}


def test_instructions_are_those_that_torch_computes_with(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert cpu() == f"{model()}, AVX512, AMX"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert cpu() == f"{model()}, AVX512"


@pytest.mark.parametrize(
    "text, most", [("150000 100000", 1), ("max 100000", 999), ("900000000 100000", 999), ("x", 999)]
)
def test_container_has_the_cores_that_it_is_given(tmp_path, text, most):
    (tmp_path / "cpu.max").write_text(text)
    assert cores(tmp_path / "cpu.max") == min(most, cores(tmp_path / "none"))
