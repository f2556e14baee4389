"""Names of GPUs as names of locks; how processes share GPUs is in test_launch.py."""

import tempfile

from hw1.run import gpus


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
