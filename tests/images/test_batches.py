"""Batches on the CPU: which images come, in which order and form."""

import numpy as np
import pytest
import torch

from hw1.images.batches import Batches
from hw1.images.machine import Machine

CPU = Machine(torch.device("cpu"), None, 0.5)


def images(count):
    """Image number i is filled with i, but for one pixel that marks its place."""
    array = np.zeros((count, 4, 6, 3), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    array[:, 1, 2, 0] = 200
    return array


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sizes(count, batch_size):
    return [len(batch) for batch, _ in Batches(images(count), None, batch_size, CPU).in_order()]


@pytest.mark.parametrize(
    "count, expected",
    [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (5, [5]), (4, [4]), (3, [3]), (1, [1])],
)
def test_last_batch_of_one_joins_the_one_before(count, expected):
    assert sizes(count, 4) == expected
    assert Batches(images(count), None, 4, CPU).steps == len(expected)


def test_length_is_the_number_of_images():
    assert len(Batches(images(9), None, 4, CPU)) == 9


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


def test_order_follows_from_the_generator():
    batches = Batches(images(30), None, 4, CPU)
    assert order(batches, seeded(1)) == order(batches, seeded(1)) != order(batches, seeded(2))


def test_next_epoch_has_another_order():
    batches, generator = Batches(images(30), None, 4, CPU), seeded()
    assert order(batches, generator) != order(batches, generator)


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_skipped_batches_are_left_out_and_the_others_the_same(skip):
    batches = Batches(images(10), None, 4, CPU)
    whole, rest = list(batches.take(torch.arange(10))), list(batches.take(torch.arange(10), skip))
    assert len(rest) == 3 - skip
    assert all(torch.equal(batch[1], other[1]) for batch, other in zip(rest, whole[skip:], strict=True))


def test_in_order_keeps_the_stored_order():
    batches = Batches(images(7), np.arange(7) * 2, 3, CPU)
    assert torch.cat([labels for _, labels in batches.in_order()]).tolist() == [0, 2, 4, 6, 8, 10, 12]


def test_without_targets_a_batch_brings_positions():
    batch, positions = next(shuffled(Batches(images(9), None, 4, CPU)))
    assert positions.dtype == torch.int64
    assert torch.equal(batch[:, 0, 0, 0].long(), positions)


def test_images_are_uint8_channels_last_with_channels_in_front():
    batch, _ = next(Batches(images(5), None, 5, CPU).in_order())
    assert batch.dtype == torch.uint8
    assert batch.shape == (5, 3, 4, 6)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert (batch == 200).nonzero().tolist() == [[image, 0, 1, 2] for image in range(5)]


def test_masks_travel_with_their_images():
    masks = images(9)[..., 1]
    for batch, targets in shuffled(Batches(images(9), masks, 4, CPU)):
        assert targets.dtype == torch.uint8
        assert torch.equal(targets, batch[:, 1])


def test_writing_to_a_batch_leaves_the_array_unchanged():
    array = images(4)
    batch, _ = next(Batches(array, None, 4, CPU).in_order())
    batch.zero_()
    assert np.array_equal(array, images(4))


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
