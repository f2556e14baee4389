"""Batches on the CPU: which images come, in which order and form."""

import numpy as np
import pytest
import torch
from drawn import seeded
from trainings import CPU

from hw1.images.batches import Batches
from hw1.images.machine import Machine


def images(count):
    """Image number i is filled with i, but for one pixel that marks its place."""
    array = np.zeros((count, 4, 6, 3), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    array[:, 1, 2, 0] = 200
    return array


@pytest.mark.parametrize(
    "count, expected",
    [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (5, [5]), (4, [4]), (3, [3]), (1, [1])],
)
def test_last_batch_of_one_joins_the_one_before(count, expected):
    batches = Batches(images(count), None, 4, CPU)
    assert [len(batch) for batch, _ in batches.in_order()] == expected
    assert (batches.steps, len(batches)) == (len(expected), count)


def shuffled(batches, generator=None):
    return batches.take(batches.shuffled(generator or seeded()))


def test_shuffled_brings_every_image_once_with_its_own_label():
    labels = 100 + np.arange(11)
    batches = list(shuffled(Batches(images(11), labels, 4, CPU)))
    numbers = torch.cat([batch[:, 0, 0, 0] for batch, _ in batches]).long()
    assert numbers.sort().values.tolist() == list(range(11))
    assert torch.equal(torch.cat([targets for _, targets in batches]), 100 + numbers)


def order(batches, generator):
    return torch.cat([positions for _, positions in shuffled(batches, generator)]).tolist()


def test_order_follows_from_the_generator_and_the_next_epoch_has_another():
    batches, generator = Batches(images(30), None, 4, CPU), seeded(1)
    first, second = order(batches, generator), order(batches, generator)
    assert order(batches, seeded(1)) == first != second


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_skipped_batches_are_left_out_and_the_others_the_same(skip):
    batches = Batches(images(10), None, 4, CPU)
    whole, rest = list(batches.take(torch.arange(10))), list(batches.take(torch.arange(10), skip))
    assert len(rest) == 3 - skip
    assert all(torch.equal(batch[1], other[1]) for batch, other in zip(rest, whole[skip:], strict=True))


def test_without_targets_a_batch_brings_positions():
    batch, positions = next(shuffled(Batches(images(9), None, 4, CPU)))
    assert positions.dtype == torch.int64
    assert torch.equal(batch[:, 0, 0, 0].long(), positions)


def test_images_are_uint8_channels_last_with_channels_in_front_and_a_copy():
    array = images(5)
    batch, _ = next(Batches(array, None, 5, CPU).in_order())
    assert (batch.dtype, batch.shape) == (torch.uint8, (5, 3, 4, 6))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert (batch == 200).nonzero().tolist() == [[image, 0, 1, 2] for image in range(5)]
    batch.zero_()
    assert np.array_equal(array, images(5))


def test_masks_travel_with_their_images():
    masks = images(9)[..., 1]
    for batch, targets in shuffled(Batches(images(9), masks, 4, CPU)):
        assert targets.dtype == torch.uint8
        assert torch.equal(targets, batch[:, 1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("share", [0.5, 0.0], ids=["resident", "streamed"])
def test_gpu_gets_the_batches_of_the_cpu(share):
    gpu = Machine(torch.device("cuda"), None, share)
    ours, expected = (list(shuffled(Batches(images(50), None, 4, machine))) for machine in (gpu, CPU))
    for batch, reference in zip(ours, expected, strict=True):
        assert batch[0].device.type == "cuda"
        assert batch[0].is_contiguous(memory_format=torch.channels_last)
        assert all(torch.equal(tensor.cpu(), other) for tensor, other in zip(batch, reference, strict=True))


def test_next_batch_is_announced_while_this_one_is_used(tmp_path):
    np.save(tmp_path / "images.npy", images(7))
    batches = Batches(np.load(tmp_path / "images.npy", mmap_mode="c"), np.arange(7), 3, CPU)
    announced = []
    batches._announcements = [lambda index: announced.append(index.tolist())]
    order = torch.tensor([6, 5, 4, 3, 2, 1, 0])
    seen = [(labels.tolist(), list(announced)) for _, labels in batches.take(order)]
    first, last = [6, 5, 4], [3, 2, 1, 0]  # one image more: a batch of one is none
    assert seen == [(first, [first, last]), (last, [first, last])]
    assert [labels.tolist() for _, labels in Batches(images(3), np.arange(3), 2, CPU).in_order()] == [[0, 1, 2]]


def test_targets_in_a_map_are_announced_too(tmp_path):
    for name in ("images", "masks"):
        np.save(tmp_path / f"{name}.npy", images(4))
    maps = [np.load(tmp_path / f"{name}.npy", mmap_mode="c") for name in ("images", "masks")]
    assert len(Batches(*maps, 2, CPU)._announcements) == 2
    assert len(Batches(maps[0], None, 2, CPU)._announcements) == 1
    assert Batches(images(4), None, 2, CPU)._announcements == []
