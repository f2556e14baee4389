"""The augmentations: what they apply, against torchvision; what they draw, against the declared distributions.

A share over n draws is tested to within five standard deviations, sqrt(p * (1 - p) / n); the seeds are fixed.
"""

import math

import numpy as np
import pytest
import torch
from drawn import assert_share, noise, seeded
from torchvision.transforms import InterpolationMode, RandomResizedCrop, TrivialAugmentWide
from torchvision.transforms import functional as reference
from torchvision.transforms.autoaugment import _apply_op

from hw1.images import augment as module
from hw1.images.augment import augment, color_jitter, flip

RANDOM = ("choice224", "trivial128")
NAMES = ("none", *RANDOM)
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


# -- what every augmentation holds to


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(40, 3, 17, 22), (1, 3, 32, 32), (9, 3, 33, 47), (6, 3, 50, 19)])
def test_augment_returns_new_bytes_of_the_same_shape_the_same_on_channels_last_images(name, shape):
    images = noise(*shape)
    stored = torch.from_numpy(np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2)
    result = augment(name, images, seeded())
    assert (result.shape, result.dtype) == (shape, torch.uint8)
    assert torch.equal(augment(name, stored, seeded()), result)
    assert torch.equal(images, noise(*shape)) and torch.equal(stored, images)  # unchanged
    assert name != "none" or torch.equal(result, images)


@pytest.mark.parametrize("name", RANDOM)
def test_augment_draws_from_its_generator_alone(name):
    images, generator, before = noise(40, 3, 16, 16), seeded(7), torch.get_rng_state()
    first, next_one = augment(name, images, generator), augment(name, images, generator)
    assert torch.equal(augment(name, images, seeded(7)), first) and not torch.equal(next_one, first)
    assert torch.equal(torch.get_rng_state(), before)


@NEEDS_GPU
@pytest.mark.parametrize("name", NAMES)
def test_augment_on_a_gpu_gives_what_it_gives_on_the_cpu(name):
    images = noise(200, 3, 48, 48)
    difference = (augment(name, images.cuda(), seeded()).cpu().int() - augment(name, images, seeded()).int()).abs()
    assert (difference > 1).double().mean() < 1e-3  # nearest pixels at a tie, two levels after a jitter


@NEEDS_GPU
@pytest.mark.parametrize("name", NAMES)
def test_augment_never_waits_for_the_gpu(name):
    images = noise(200, 3, 48, 48).cuda()
    augment(name, images, seeded())  # loads the kernels, which may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        augment(name, images, seeded())
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", NAMES)
def test_augment_inside_autocast_is_exact(name):
    """Products in bf16 would be off by a level or two in a fifth of the pixels."""
    images = noise(60, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = augment(name, images, seeded())
    assert torch.equal(inside, augment(name, images, seeded()))


@pytest.mark.parametrize("name", NAMES)
def test_views_of_one_call_are_those_of_two(name):
    images, one_by_one = noise(40, 3, 17, 22), seeded()
    expected = torch.cat([augment(name, images, one_by_one) for _ in range(2)])
    assert torch.equal(augment(name, images, seeded(), views=2), expected)


# -- choice224


def test_choice224_jitters_a_third_of_the_images():
    # Cropping and mirroring leave an image of one colour as it is.
    plain = torch.tensor([200, 120, 40], dtype=torch.uint8).view(1, 3, 1, 1).expand(3000, 3, 8, 8)
    result = augment("choice224", plain, seeded())
    changed = (result != plain).flatten(1).any(1)
    assert_share(changed, 1 / 3)


def test_choice224_mirrors_a_sixth_of_the_images_and_leaves_a_sixth():
    images = noise(1, 3, 12, 12).expand(3000, 3, 12, 12)
    result, same = augment("choice224", images, seeded()), images
    assert_share((result == same.flip(-1)).all((1, 2, 3)).flatten(), 1 / 6)
    assert_share((result == same).all((1, 2, 3)).flatten(), 1 / 6)


def test_choice224_gives_equal_images_different_crops_and_colours():
    images = noise(1, 3, 64, 64).expand(60, 3, 64, 64)
    result, same = augment("choice224", images, seeded()), images
    kept = (result == same).all((1, 2, 3)) | (result == same.flip(-1)).all((1, 2, 3))
    changed = result[~kept]
    assert len(changed) > 20  # 40 expected: a third is cropped, a third jittered
    assert len(changed.unique(dim=0)) == len(changed)


def test_boxes_lie_in_the_image_and_keep_to_the_declared_areas_and_ratios():
    # Large, so that rounding to pixels hardly counts.
    boxes = module.draw_boxes(5000, 2000, 1800, seeded())
    top, left, height, width = boxes.double().unbind(1)
    assert boxes[:, :2].min() >= 0 and (top + height).max() <= 2000 and (left + width).max() <= 1800
    area, ratio = height * width / (2000 * 1800), width / height
    assert area.min() > 0.0795 and area.max() <= 1
    assert ratio.min() > 0.7475 and ratio.max() < 1.3378


def test_boxes_are_uniform_in_area_and_log_ratio_where_every_ratio_fits():
    height, width = module.draw_boxes(20000, 2000, 2000, seeded())[:, 2:].double().unbind(1)
    area, log_ratio = height * width / 2000**2, (width / height).log() / math.log(4 / 3)
    fits = area < 0.75  # a box of 3/4 of the area and ratio 4/3 is as wide as the image
    for bound in (0.09, 0.3, 0.6):
        assert_share(area[fits] < bound, (bound - 0.08) / 0.67)
    for bound in (-0.9, -0.5, 0.0, 0.5, 0.9):
        assert_share(log_ratio[fits] < bound, (1 + bound) / 2)


def test_boxes_are_distributed_as_torchvisions():
    torch.manual_seed(0)
    image = torch.empty(3, 48, 64)
    expected = torch.tensor([RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(3000)])
    boxes = module.draw_boxes(3000, 48, 64, seeded()).double()
    expected = expected.double()
    for statistic in (lambda values: values, lambda values: values**2):
        ours, theirs = statistic(boxes), statistic(expected)
        error = ((ours.var(0) + theirs.var(0)) / 3000).sqrt()
        assert ((ours.mean(0) - theirs.mean(0)).abs() < 5 * error).all()


def test_small_boxes_lie_in_the_image_and_reach_every_corner():
    boxes = module.draw_boxes(5000, 8, 8, seeded())
    assert boxes.min() >= 0 and (boxes[:, :2] + boxes[:, 2:]).max() <= 8
    corners = boxes[(boxes[:, 2:] == 4).all(1), :2].tolist()
    assert {tuple(corner) for corner in corners} == {(row, column) for row in range(5) for column in range(5)}


@pytest.mark.parametrize("height, width, central", [(10, 400, (0, 193, 10, 13)), (400, 10, (193, 0, 13, 10))])
def test_boxes_that_never_fit_fall_back_to_the_centre(height, width, central):
    torch.manual_seed(0)
    assert RandomResizedCrop.get_params(torch.empty(3, height, width), [0.08, 1.0], [3 / 4, 4 / 3]) == central
    assert module.draw_boxes(50, height, width, seeded()).tolist() == [list(central)] * 50


# -- colour jitter


def test_jitter_of_strength_zero_returns_its_input():
    images = noise(2, 3, 8, 8)
    assert color_jitter(images, 0, seeded()) is images


def test_jitter_draws_parameters_uniformly_in_their_ranges_and_every_order_equally_often():
    parameters, order = module.draw_jitter(6000, 0.4, seeded())
    centred = (parameters - torch.tensor([1.0, 1.0, 0.0])) / 0.4
    assert centred.abs().max() <= 1
    for bound in (-0.5, 0.0, 0.5):
        for column in centred.unbind(1):
            assert_share(column < bound, (1 + bound) / 2)
    orders, counts = order.unique(dim=0, return_counts=True)
    assert len(orders) == 6
    for count in counts.tolist():
        assert_share(torch.arange(6000) < count, 1 / 6)


def test_jitter_applies_each_images_own_order():
    images = noise(36, 3, 13, 18)
    parameters, order = module.draw_jitter(36, 0.5, seeded())
    adjusts = (reference.adjust_brightness, reference.adjust_contrast, reference.adjust_hue)
    expected = []
    for image, values, numbers in zip(images, parameters.tolist(), order.tolist(), strict=True):
        for number in numbers:
            image = adjusts[number](image, values[number])
        expected.append(image)
    # A level of difference in the hue becomes up to two by a factor of 1.5.
    difference = (module.apply_jitter(images, parameters, order).int() - torch.stack(expected).int()).abs()
    assert difference.max() <= 2
    assert (difference > 0).double().mean() < 1e-3


# -- trivial128, operation by operation and bin by bin

SPACE = TrivialAugmentWide()._augmentation_space(31)  # {name: (magnitudes, signed)}


@pytest.mark.parametrize("name", SPACE)
def test_trivial_magnitudes_are_torchvisions(name):
    magnitudes, signed = SPACE[name]
    ours = module.MAGNITUDES[module.OP_NAMES.index(name)].float()
    ours = ours.round() if name == "Posterize" else ours
    assert torch.equal(ours, magnitudes.float().expand(31))
    assert module.TRIVIAL_OPS[name][2] == signed


@pytest.mark.parametrize("shape", [(32, 32), (33, 40)])
@pytest.mark.parametrize("name", SPACE)
def test_trivial_operation_equals_torchvision_at_all_bins_and_signs(name, shape):
    image = noise(3, *shape)
    bins = module.MAGNITUDES[module.OP_NAMES.index(name)]
    magnitudes = torch.cat([bins, -bins]) if SPACE[name][1] else bins
    references = torch.cat([SPACE[name][0].expand(31), -SPACE[name][0].expand(31)])[: len(magnitudes)].tolist()
    expected = torch.stack([_apply_op(image, name, value, InterpolationMode.NEAREST, None) for value in references])
    ops = torch.full((len(magnitudes),), module.OP_NAMES.index(name))
    result = module.apply_trivial(image.expand(len(magnitudes), -1, -1, -1), ops, magnitudes)
    # A source exactly between two pixels may fall to either: at 90 degrees about the middle of 33 x 40.
    allowed = 0.005 if name == "Rotate" else 5e-4 if name in module.GEOMETRIC_OPS else 0
    assert (result != expected).double().mean() <= allowed


def test_trivial_draws_every_operation_bin_and_sign_equally_often():
    ops, magnitudes = module.draw_trivial(28000, seeded())
    for number, name in enumerate(module.OP_NAMES):
        assert_share(ops == number, 1 / 14)
        drawn = magnitudes[ops == number]
        if SPACE[name][1]:
            assert_share(drawn[drawn != 0] < 0, 0.5)
    for value in module.MAGNITUDES[module.OP_NAMES.index("Rotate")]:
        assert_share(magnitudes[ops == module.OP_NAMES.index("Rotate")].abs() == value, 1 / 31)


@pytest.mark.parametrize("name", ["Posterize", "Solarize"])
def test_trivial_never_negates_an_unsigned_magnitude(name):
    ops, magnitudes = module.draw_trivial(14000, seeded())
    assert magnitudes[ops == module.OP_NAMES.index(name)].min() >= 0


def test_trivial_applies_each_images_own_operation():
    images = noise(1, 3, 32, 32).expand(14, 3, 32, 32)
    result = module.apply_trivial(images, torch.arange(14), module.MAGNITUDES[:, 20])
    # Of 14 results only equalising uniform noise and stretching its full range may come near the identity.
    assert len(result.unique(dim=0)) >= 13


def test_trivial128_mirrors_half_of_the_images():
    images = noise(1, 3, 8, 8).expand(4000, 3, 8, 8)
    result, same = augment("trivial128", images, seeded()), images
    kept = (result == same).all((1, 2, 3))  # the identity and the operations of magnitude zero
    mirrored = (result == same.flip(-1)).all((1, 2, 3))
    assert_share(mirrored[kept | mirrored], 0.5)


# -- flips of images with their masks


def pairs(count):
    images = noise(count, 3, 7, 10)
    return images, images[:, 0].clone()


@pytest.mark.parametrize("horizontal, vertical, axes", [(1, 0, [-1]), (0, 1, [-2]), (1, 1, [-1, -2]), (0, 0, [])])
@pytest.mark.parametrize("count", [1, 6])
def test_flip_mirrors_the_declared_axes(count, horizontal, vertical, axes):
    images, masks = pairs(count)
    for memory in (torch.contiguous_format, torch.channels_last):
        stored = images.contiguous(memory_format=memory)
        flipped = flip(stored, masks, horizontal, vertical, seeded())
        assert torch.equal(flipped[0], images.flip(axes)) and torch.equal(flipped[1], masks.flip(axes))


def test_flip_draws_each_image_and_axis_on_its_own_and_moves_masks_with_them():
    images, masks = pairs(1)
    images, masks = images.expand(4000, -1, -1, -1), masks.expand(4000, -1, -1)
    flipped_images, flipped = flip(images, masks, 0.3, 0.6, seeded())
    assert torch.equal(flipped_images[:, 0], flipped)
    for axes, probability in (([], 0.7 * 0.4), ([-1], 0.3 * 0.4), ([-2], 0.7 * 0.6), ([-1, -2], 0.3 * 0.6)):
        assert_share((flipped == masks.flip(axes)).all((1, 2)), probability)
