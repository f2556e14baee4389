"""Each pixel operation at given parameters: by hand where that is short, else against torchvision."""

import pytest
import torch
from torchvision.transforms import functional as reference

from hw1.images import image_ops

COUNT, HEIGHT, WIDTH = 16, 21, 34
FACTORS = torch.linspace(0.01, 1.99, COUNT)


@pytest.fixture
def images():
    """Noise of growing contrast: random levels, from nearly flat images to the full range."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(COUNT, 3, HEIGHT, WIDTH, generator=generator) - 0.5
    span = torch.linspace(4, 255, COUNT).view(-1, 1, 1, 1)
    return (128 + span * noise).to(torch.uint8)


def middle_out(images, factor_x, factor_y):
    """(N, 2, 3) matrices that scale about the middle."""
    matrix = torch.tensor([[factor_x, 0.0, 0.0], [0.0, factor_y, 0.0]])
    return matrix.expand(len(images), 2, 3)


OPERATIONS = {
    "brightness": lambda images: image_ops.adjust_brightness(images, FACTORS[: len(images)]),
    "contrast": lambda images: image_ops.adjust_contrast(images, FACTORS[: len(images)]),
    "saturation": lambda images: image_ops.adjust_saturation(images, FACTORS[: len(images)]),
    "sharpness": lambda images: image_ops.adjust_sharpness(images, FACTORS[: len(images)]),
    "hue": lambda images: image_ops.adjust_hue(images, FACTORS[: len(images)] / 4),
    "posterize": lambda images: image_ops.posterize(images, torch.arange(len(images)) % 8 + 1),
    "solarize": lambda images: image_ops.solarize(images, 120 * FACTORS[: len(images)]),
    "autocontrast": image_ops.autocontrast,
    "equalize": image_ops.equalize,
    "affine": lambda images: image_ops.affine(images, middle_out(images, 0.7, 1.4)),
    "crop": lambda images: image_ops.crop_and_resize(images, torch.tensor([[2, 3, 11, 17]]).expand(len(images), 4)),
}


@pytest.mark.parametrize(
    "operation, expected, values",
    [
        (image_ops.adjust_brightness, reference.adjust_brightness, FACTORS),
        (image_ops.adjust_contrast, reference.adjust_contrast, FACTORS),
        (image_ops.adjust_saturation, reference.adjust_saturation, FACTORS),
        (image_ops.adjust_sharpness, reference.adjust_sharpness, FACTORS),
        (image_ops.posterize, reference.posterize, torch.arange(COUNT) % 8 + 1),
        (image_ops.solarize, reference.solarize, torch.linspace(0, 255, COUNT)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_photometric_operation_equals_torchvision_at_each_images_parameter(images, operation, expected, values):
    each = [expected(image, value) for image, value in zip(images, values.tolist(), strict=True)]
    assert torch.equal(operation(images, values), torch.stack(each))


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_contrast_of_its_own_equals_torchvision_and_leaves_a_channel_of_one_level(images, name):
    operation, flat = getattr(image_ops, name), torch.full((2, 3, 20, 20), 77, dtype=torch.uint8)
    assert torch.equal(operation(images), getattr(reference, name)(images))
    assert torch.equal(operation(flat), flat)


def test_hue_is_within_one_level_of_torchvision(images):
    shifts = torch.linspace(-0.5, 0.5, COUNT)
    each = [reference.adjust_hue(image, shift) for image, shift in zip(images, shifts.tolist(), strict=True)]
    assert (image_ops.adjust_hue(images, shifts).int() - torch.stack(each).int()).abs().max() <= 1


def test_hue_leaves_grey_alone():
    grey = torch.arange(256, dtype=torch.uint8).expand(3, -1).reshape(1, 3, 16, 16)
    assert torch.equal(image_ops.adjust_hue(grey, torch.tensor([0.3])), grey)


def test_affine_translation_takes_the_source_and_fills_with_black():
    image = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8).expand(1, 3, 2, 3)
    one_to_the_right = torch.tensor([[[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]])
    assert image_ops.affine(image, one_to_the_right)[0, 0].tolist() == [[0, 1, 2], [0, 4, 5]]


def test_affine_far_outside_is_black(images):
    far = middle_out(images, 1.0, 1.0) + torch.tensor([[0.0, 0.0, 1e6], [0.0, 0.0, -1e6]])
    assert image_ops.affine(images, far).count_nonzero() == 0


def test_crop_is_within_one_level_of_torchvision(images):
    generator = torch.Generator().manual_seed(1)
    size = (torch.rand(COUNT, 2, generator=generator) * torch.tensor([HEIGHT, WIDTH])).long() + 1
    corner = (torch.rand(COUNT, 2, generator=generator) * (torch.tensor([HEIGHT, WIDTH]) - size + 1)).long()
    boxes = torch.cat([corner, size], dim=1)
    pairs = zip(images, boxes.tolist(), strict=True)
    each = [reference.resized_crop(image, *box, [HEIGHT, WIDTH], antialias=True) for image, box in pairs]
    assert (image_ops.crop_and_resize(images, boxes).int() - torch.stack(each).int()).abs().max() <= 1


def test_crop_of_the_whole_image_is_the_image(images):
    whole = torch.tensor([[0, 0, HEIGHT, WIDTH]]).expand(COUNT, 4)
    assert torch.equal(image_ops.crop_and_resize(images, whole), images)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_gives_the_same_on_channels_last_images_and_alone_and_changes_no_input(images, name):
    before, result = images.clone(), OPERATIONS[name](images)
    assert torch.equal(OPERATIONS[name](images.contiguous(memory_format=torch.channels_last)), result)
    assert torch.equal(OPERATIONS[name](images[:1]), result[:1])
    assert torch.equal(images, before)
