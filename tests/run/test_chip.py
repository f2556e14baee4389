"""The CPU's name, for the record."""

import platform

import torch

from hw1.run.chip import cpu, model

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
