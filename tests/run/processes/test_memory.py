"""The largest batch that fits, found by trying."""

import pytest
import torch

from hw1.run.processes.memory import is_out_of_memory, largest_batch


def steps_of(room, tried):
    def step(size):
        tried.append(size)
        if size > room:
            raise torch.OutOfMemoryError("CUDA out of memory")

    return step


@pytest.mark.parametrize("too_many", [3, 8, 100, 256, 1000])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.5, 0.9, 0.99])
def test_found_size_fits_and_an_eighth_more_would_not(too_many, share):
    room, tried = int(too_many * share), []
    found = largest_batch(steps_of(room, tried), too_many)
    assert found <= room
    assert found == 0 if room < 2 else found in tried
    assert room < 2 or found + max(1, too_many // 8) >= min(room, too_many - 1)
    assert len(tried) <= 10


def test_nothing_fits():
    assert largest_batch(steps_of(1, []), 64) == 0


def test_another_error_is_not_swallowed():
    def step(size):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        largest_batch(step, 8)


def test_torchs_own_refusal_of_a_huge_cpu_tensor_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
