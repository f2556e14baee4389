"""How stored images become a network's input: its size, its normalisation, and the changes between the two."""

from dataclasses import replace

import pytest
import torch
from cards import QUICK
from drawn import noise
from PIL import Image
from torchvision.transforms import functional as reference

from hw1.images import input as module
from hw1.images.input import AS_STORED, NetworkInput, input_of, normalise, resize_crop


@pytest.mark.parametrize("shape", [(4, 3, 16, 16), (1, 3, 9, 14)])
def test_normalise_equals_torchvision(shape):
    images = noise(*shape)
    expected = reference.normalize(images / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    torch.testing.assert_close(normalise(images), expected)


def pil_resize_crop(image, resize, crop):
    resized = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((resize, resize), Image.Resampling.BICUBIC)
    return reference.pil_to_tensor(reference.center_crop(resized, [crop, crop]))


@pytest.mark.parametrize("height, width, resize, crop", [(32, 32, 58, 56), (40, 61, 24, 21), (17, 90, 33, 33)])
def test_resize_crop_is_within_one_level_of_pil(height, width, resize, crop):
    images = noise(3, 3, height, width)
    expected = torch.stack([pil_resize_crop(image, resize, crop) for image in images])
    assert (resize_crop(images, resize, crop).int() - expected.int()).abs().max() <= 1


def test_resize_in_float_is_within_one_level_of_pil():
    images = noise(3, 3, 40, 61)
    expected = torch.stack([pil_resize_crop(image, 33, 33) for image in images])
    assert (module._resize_in_float(images, 33).int() - expected.int()).abs().max() <= 1


# -- the input of a network


@pytest.mark.parametrize("fed", [AS_STORED, NetworkInput(20, 18)])
def test_input_is_normalised_float32_in_channels_last_memory(fed):
    images = noise(4, 3, 16, 16)
    result = fed(images)
    assert torch.equal(result, normalise(fed.view(images)))
    assert result.dtype == torch.float32 and result.is_contiguous(memory_format=torch.channels_last)


def test_changes_are_made_at_the_networks_size_and_before_normalising():
    images, seen = noise(4, 3, 16, 16), []

    def doubled(batch):
        seen.append(batch)
        return torch.cat([batch, 255 - batch])

    result = NetworkInput(20, 18)(images, doubled)
    assert torch.equal(seen[0], resize_crop(images, 20, 18))
    assert torch.equal(result, normalise(torch.cat([seen[0], 255 - seen[0]])))


def test_levels_can_be_fed_as_they_are():
    images = noise(4, 3, 16, 16)
    result = input_of(replace(QUICK.classify.A, normalise=False))(images)
    assert torch.equal(result, images.float()) and result.is_contiguous(memory_format=torch.channels_last)


OTHER_SIZE = replace(QUICK.classify.B, resize=50, crop=48)


@pytest.mark.parametrize(
    "training, side", [(QUICK.classify.A, 32), (OTHER_SIZE, 48), (QUICK.finetune, 32), (QUICK.segment.A, 32)]
)
def test_only_convnext_is_fed_another_size_than_is_stored(training, side):
    assert input_of(training).view(noise(2, 3, 32, 32)).shape == (2, 3, side, side)
