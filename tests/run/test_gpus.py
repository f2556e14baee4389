"""Names of GPUs as names of locks; how processes share GPUs is in test_launch.py."""

from hw1.run import gpus


def test_part_of_a_gpu_is_taken_by_the_name_it_has_in_cuda_visible_devices(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "_held", [])
    name = "MIG-GPU-8e3f/1/0"
    assert gpus.take([name], 1, 1, tmp_path) == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["MIG-GPU-8e3f_1_0.0"]
