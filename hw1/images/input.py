"""The way of a stored picture to the input of a network: in training, scoring, prediction and export."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hw1.run.parameters.params import ConvNeXt, SmallCnn, StartTraining, Training

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class NetworkInput:
    """Resized to a square of ``resize`` px, of which the centre of ``crop`` px is taken, and normalised; as large as
    it is stored where both are 0, its levels of 0 to 255 as they are where it is not ``normalised``.
    """

    resize: int = 0
    crop: int = 0
    normalised: bool = True

    def __call__(self, images: Tensor, augmented: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Stored images uint8 (N, 3, H, W) -> float32 (N, 3, crop, crop) in channels_last memory.

        ``augmented`` changes the bytes between the two steps; what it returns may be more images.
        """
        images = self.view(images)
        images = images if augmented is None else augmented(images)
        return normalise(images) if self.normalised else images.to(torch.float32, memory_format=torch.channels_last)

    def view(self, images: Tensor) -> Tensor:
        """The bytes at the network's size: uint8 (N, 3, H, W) -> uint8 (N, 3, crop, crop)."""
        return resize_crop(images, self.resize, self.crop) if self.resize else images


AS_STORED = NetworkInput()


def input_of(training: Training) -> NetworkInput:
    """The input of the network that a section of params.yaml trains; the small CNN stretches its images itself."""
    if isinstance(training, ConvNeXt):
        return NetworkInput(training.resize, training.crop)
    if isinstance(training, StartTraining):
        return NetworkInput(training.size, training.size)
    return NetworkInput(normalised=training.normalise) if isinstance(training, SmallCnn) else AS_STORED


def normalise(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) to float32 with ImageNet's mean 0 and standard deviation 1, channels_last memory."""
    rows = images.permute(0, 2, 3, 1).contiguous().flatten(2)  # (N, H, W * 3)
    mean, std = _mean_and_std(images.shape[3], images.device)
    normal = rows.float().sub_(mean).div_(std)
    return normal.unflatten(2, (-1, 3)).permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=16)
def _mean_and_std(width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's, in levels, repeated along a row of pixels (W * 3,): a broadcast over three channels is slow."""
    return tuple(torch.tensor(v).mul_(255).repeat(width).to(device) for v in (IMAGENET_MEAN, IMAGENET_STD))


def resize_crop(images: Tensor, resize: int, crop: int) -> Tensor:
    """uint8 (N, 3, H, W) to uint8 (N, 3, crop, crop): PIL's bicubic resize to a square, then the centre."""
    if images.device.type != "cpu":  # only there does torch resize uint8, as PIL does to within a level
        resized = _resize_in_float(images, resize)
    else:
        resized = functional.interpolate(images, (resize, resize), mode="bicubic", antialias=True)
    start = round((resize - crop) / 2)
    return resized[..., start : start + crop, start : start + crop]


def _resize_in_float(images: Tensor, size: int) -> Tensor:
    """PIL's order of work: the width, whole levels, the height, whole levels."""
    levels = images.float()
    for shape in ((images.shape[2], size), (size, size)):
        levels = functional.interpolate(levels, shape, mode="bicubic", antialias=True).round_().clamp_(0, 255)
    return levels.to(torch.uint8)
