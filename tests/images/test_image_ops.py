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
    result = operation(images, values)
    assert torch.equal(
        result, torch.stack([expected(image, value) for image, value in zip(images, values.tolist(), strict=True)])
    )


def test_autocontrast_equals_torchvision(images):
    assert torch.equal(image_ops.autocontrast(images), reference.autocontrast(images))


def test_equalize_equals_torchvision(images):
    assert torch.equal(image_ops.equalize(images), reference.equalize(images))


def test_hue_is_within_one_level_of_torchvision(images):
    shifts = torch.linspace(-0.5, 0.5, COUNT)
    expected = torch.stack(
        [reference.adjust_hue(image, shift) for image, shift in zip(images, shifts.tolist(), strict=True)]
    )
    assert (image_ops.adjust_hue(images, shifts).int() - expected.int()).abs().max() <= 1


def test_hue_turned_by_a_third_moves_red_to_green():
    red = torch.tensor([200, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    assert image_ops.adjust_hue(red, torch.tensor([1 / 3])).flatten().tolist() == [0, 200, 0]


def test_hue_leaves_grey_alone():
    grey = torch.arange(256, dtype=torch.uint8).expand(3, -1).reshape(1, 3, 16, 16)
    assert torch.equal(image_ops.adjust_hue(grey, torch.tensor([0.3])), grey)


def test_contrast_zero_is_the_mean_luma():
    image = torch.tensor([[0, 100], [200, 100]], dtype=torch.uint8).expand(1, 3, 2, 2)
    # Luma is cut to whole levels: 0, 99, 199, 99, for the weights sum to 0.9999.
    assert image_ops.adjust_contrast(image, torch.tensor([0.0])).unique().tolist() == [99]


def test_sharpness_leaves_the_border_alone(images):
    result = image_ops.adjust_sharpness(images, FACTORS * 0)
    inside = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    assert torch.equal(result[..., ~inside], images[..., ~inside])


def test_sharpness_zero_spreads_a_dot_by_the_kernel():
    image = torch.zeros(1, 3, 5, 5, dtype=torch.uint8)
    image[..., 2, 2] = 130
    result = image_ops.adjust_sharpness(image, torch.tensor([0.0]))
    assert result[0, 0, 1:4, 1:4].tolist() == [[10, 10, 10], [10, 50, 10], [10, 10, 10]]


def test_posterize_keeps_the_high_bits():
    image = torch.full((2, 3, 1, 1), 0b10110111, dtype=torch.uint8)
    assert image_ops.posterize(image, torch.tensor([2, 8]))[:, 0, 0, 0].tolist() == [0b10000000, 0b10110111]


@pytest.mark.parametrize("operation", [image_ops.autocontrast, image_ops.equalize])
def test_channel_of_one_level_stays(operation):
    flat = torch.full((2, 3, 20, 20), 77, dtype=torch.uint8)
    assert torch.equal(operation(flat), flat)


def test_affine_translation_takes_the_source_and_fills_with_black():
    image = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8).expand(1, 3, 2, 3)
    one_to_the_right = torch.tensor([[[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]])
    assert image_ops.affine(image, one_to_the_right)[0, 0].tolist() == [[0, 1, 2], [0, 4, 5]]


def test_affine_half_turn_mirrors_both_axes(images):
    assert torch.equal(image_ops.affine(images, middle_out(images, -1.0, -1.0)), images.flip(-1, -2))


def test_affine_far_outside_is_black(images):
    far = middle_out(images, 1.0, 1.0) + torch.tensor([[0.0, 0.0, 1e6], [0.0, 0.0, -1e6]])
    assert image_ops.affine(images, far).count_nonzero() == 0


def test_crop_is_within_one_level_of_torchvision(images):
    generator = torch.Generator().manual_seed(1)
    size = (torch.rand(COUNT, 2, generator=generator) * torch.tensor([HEIGHT, WIDTH])).long() + 1
    corner = (torch.rand(COUNT, 2, generator=generator) * (torch.tensor([HEIGHT, WIDTH]) - size + 1)).long()
    boxes = torch.cat([corner, size], dim=1)
    expected = torch.stack(
        [
            reference.resized_crop(image, *box, [HEIGHT, WIDTH], antialias=True)
            for image, box in zip(images, boxes.tolist(), strict=True)
        ]
    )
    assert (image_ops.crop_and_resize(images, boxes).int() - expected.int()).abs().max() <= 1


def test_crop_of_the_whole_image_is_the_image(images):
    whole = torch.tensor([[0, 0, HEIGHT, WIDTH]]).expand(COUNT, 4)
    assert torch.equal(image_ops.crop_and_resize(images, whole), images)


def test_crop_of_one_pixel_is_flat(images):
    pixel = torch.tensor([[4, 7, 1, 1]]).expand(COUNT, 4)
    assert torch.equal(image_ops.crop_and_resize(images, pixel), images[..., 4:5, 7:8].expand_as(images))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_gives_the_same_on_channels_last_images(images, name):
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(OPERATIONS[name](channels_last), OPERATIONS[name](images))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_gives_an_image_alone_what_it_gives_it_in_a_batch(images, name):
    assert torch.equal(OPERATIONS[name](images[:1]), OPERATIONS[name](images)[:1])


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_leaves_its_input_unchanged(images, name):
    before = images.clone()
    OPERATIONS[name](images)
    assert torch.equal(images, before)
