"""GPUs: which ones a process takes, which torch has code for; and the largest batch that fits in memory."""

import os
import tempfile
import threading

import pytest
import torch

from hw1.run.processes import gpus
from hw1.run.processes.gpus import largest_batch


@pytest.fixture(autouse=True)
def held(monkeypatch):
    """The descriptors of the locks that a test takes; each is a lock of its own, as another process's would be."""
    held = []
    monkeypatch.setattr(gpus, "_held", held)
    monkeypatch.setattr(gpus, "POLL", 0.01)
    yield held
    for descriptor in held:
        os.close(descriptor)


def test_free_gpus_are_taken_and_waited_for(tmp_path, held, capsys):
    assert [gpus.take(["0", "1"], 1, 1, tmp_path) for _ in range(2)] == [["0"], ["1"]]
    taken = []
    third = threading.Thread(target=lambda: taken.extend(gpus.take(["0", "1"], 2, 1, tmp_path)))
    third.start()
    os.close(held.pop())
    third.join(0.2)
    assert third.is_alive() and taken == []
    os.close(held.pop())
    third.join(10)
    assert taken == ["0", "1"]
    assert capsys.readouterr().err == "launch: waiting for 2 of the GPUs 0, 1 to become free\n"


def test_trainings_per_gpu_fill_every_gpu_once_before_any_twice(tmp_path):
    assert [*map(gpus.take, [["0", "1"]] * 4, [1] * 4, [2] * 4, [tmp_path] * 4)] == [["0"], ["1"], ["0"], ["1"]]


def test_gpus_are_called_and_taken_as_cuda_visible_devices_says(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.names(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,MIG-GPU-8e3f/1/0")
    assert gpus.names(2) == ["3", "MIG-GPU-8e3f/1/0"]
    assert gpus.take(gpus.names(2)[1:], 1, 1, tmp_path) == ["MIG-GPU-8e3f/1/0"]
    assert [path.name for path in tmp_path.iterdir()] == ["MIG-GPU-8e3f_1_0.0"]


def test_jobs_of_slurm_that_call_their_gpus_by_one_name_do_not_wait_for_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for job in ("7", "8"):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        assert gpus.take(["0"], 1, 1) == ["0"]
    assert len(list(tmp_path.iterdir())) == 2


BUILT = ["sm_75", "sm_80", "sm_90a", "sm_120", "compute_120"]
LACKS = "this torch has no code for a GPU of compute capability {}, but for 7.5 to 12.0"
USED = [[(7, 5)], [(8, 6)], [(9, 0)], [(12, 1)], [(13, 0)], [(7, 0), (8, 0)], []]


@pytest.mark.parametrize(
    "capabilities, lacking", [*((used, "") for used in USED), ([(6, 0)], "6.0"), ([(7, 0)], "7.0"), ([(10, 0)], "10.0")]
)
def test_gpu_is_used_unless_torch_has_no_code_for_it(capabilities, lacking):
    assert gpus.without_code(BUILT, capabilities) == (lacking and LACKS.format(lacking))


def test_gpu_without_code_leaves_the_cpu_and_says_what_to_do(tmp_path, monkeypatch, capsys):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 7.0\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_arch_list", lambda: BUILT)
    assert not gpus.sees_gpu()
    told = capsys.readouterr().err
    assert told.startswith(f"runtime.device: auto takes the CPU: {LACKS.format('7.0')}") and told.count("\n") == 1
    assert told.endswith("docs/usage.md says how to get another\n")


# -- memory


@pytest.mark.parametrize("too_many", [3, 8, 100, 256, 1000])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.4, 0.5, 0.9, 0.99])
def test_largest_batch_fits_and_an_eighth_more_would_not(too_many, share):
    room, tried = int(too_many * share), []

    def step(size):
        tried.append(size)
        if size > room:
            raise torch.OutOfMemoryError("CUDA out of memory")

    size = largest_batch(step, too_many)
    assert size <= room
    assert size == 0 if room < 2 else size in tried
    assert room < 2 or size + max(1, too_many // 8) >= min(room, too_many - 1)
    assert len(tried) <= 10


def test_torchs_own_refusal_of_a_huge_cpu_tensor_is_recognised_and_another_error_is_not_swallowed():
    assert largest_batch(lambda size: torch.empty(2**60 if size > 4 else 1), 8) == 4
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        largest_batch(lambda size: torch.ones(2) @ torch.ones(3), 8)
