"""Names of GPUs as names of locks; how processes share GPUs is in test_launch.py."""

import tempfile

import pytest

from hw1.run.processes import gpus


def test_part_of_a_gpu_is_taken_by_the_name_it_has_in_cuda_visible_devices(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "_held", [])
    name = "MIG-GPU-8e3f/1/0"
    assert gpus.take([name], 1, 1, tmp_path) == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["MIG-GPU-8e3f_1_0.0"]


def test_jobs_of_slurm_that_call_their_gpus_by_one_name_do_not_wait_for_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for job in ("7", "8"):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        assert gpus.take(["0"], 1, 1) == ["0"]
    assert len(list(tmp_path.iterdir())) == 2


BUILT = ["sm_75", "sm_80", "sm_90a", "sm_120", "compute_120"]


@pytest.mark.parametrize("capabilities", [[(7, 5)], [(8, 6)], [(9, 0)], [(12, 1)], [(13, 0)], [(7, 0), (8, 0)], []])
def test_gpu_that_torch_has_code_for_is_used(capabilities):
    assert gpus.without_code(BUILT, capabilities) == ""


@pytest.mark.parametrize("capability", [(6, 0), (7, 0), (10, 0)])
def test_gpu_that_torch_has_no_code_for_is_told(capability):
    kind = ".".join(map(str, capability))
    told = f"this torch has no code for a GPU of compute capability {kind}, but for 7.5 to 12.0"
    assert gpus.without_code(BUILT, [capability]) == told


def test_gpu_without_code_leaves_the_cpu_and_says_what_to_do(tmp_path, monkeypatch, capsys):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 7.0\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_arch_list", lambda: BUILT)
    assert not gpus.sees_gpu()
    told = capsys.readouterr().err
    assert told.startswith(
        "runtime.device: auto takes the CPU: this torch has no code for a GPU of compute capability 7.0"
    )
    assert told.endswith("docs/usage.md says how to get another\n") and told.count("\n") == 1
