"""The two augmentations by name. Each image of a batch draws its own choice, operation and parameters.

All draws come from a CPU generator and are made on the CPU: a seed gives the same draws wherever the
images are, the lists of images per operation are known without asking the device, and nothing here
waits for it. Between operations images stay uint8, which is fast and rounds as torchvision does.

Where ranks share a batch, each draws for the whole batch and keeps the rows of its own images.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from hw1.data import image_ops
from hw1.ranks import share_of

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# RandomResizedCrop's usual ranges (Szegedy et al. 2015, arXiv:1409.4842, section 6).
CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10

JITTER_OPS = (image_ops.adjust_brightness, image_ops.adjust_contrast, image_ops.adjust_hue)

# TrivialAugmentWide's operations and magnitudes (Müller & Hutter 2021, arXiv:2103.10158, the wide space),
# as torchvision has them: 31 even steps from the first to the last value, signed ones negated every other time.
TRIVIAL_OPS = {  # name: (first magnitude, last magnitude, signed)
    "Identity": (0, 0, False),
    "ShearX": (0, 0.99, True),
    "ShearY": (0, 0.99, True),
    "TranslateX": (0, 32, True),  # pixels, at any image size
    "TranslateY": (0, 32, True),
    "Rotate": (0, 135, True),  # degrees
    "Brightness": (0, 0.99, True),  # this and the next three: factor 1 + magnitude
    "Color": (0, 0.99, True),
    "Contrast": (0, 0.99, True),
    "Sharpness": (0, 0.99, True),
    "Posterize": (8, 2, False),  # bits
    "Solarize": (255, 0, False),  # threshold
    "AutoContrast": (0, 0, False),
    "Equalize": (0, 0, False),
}
OP_NAMES = tuple(TRIVIAL_OPS)
# (14, 31), rounded to float32 as torchvision's: the middle translation is 15.999999, cut to 15 pixels.
MAGNITUDES = torch.stack([torch.linspace(first, last, 31) for first, last, _ in TRIVIAL_OPS.values()]).double()
SIGNED = torch.tensor([signed for _, _, signed in TRIVIAL_OPS.values()])
GEOMETRIC_OPS = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
PHOTOMETRIC_OPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # (images, magnitude) -> images
    "Brightness": lambda images, magnitude: image_ops.adjust_brightness(images, 1 + magnitude),
    "Color": lambda images, magnitude: image_ops.adjust_saturation(images, 1 + magnitude),
    "Contrast": lambda images, magnitude: image_ops.adjust_contrast(images, 1 + magnitude),
    "Sharpness": lambda images, magnitude: image_ops.adjust_sharpness(images, 1 + magnitude),
    "Posterize": lambda images, magnitude: image_ops.posterize(images, magnitude.round()),
    "Solarize": image_ops.solarize,
    "AutoContrast": lambda images, _: image_ops.autocontrast(images),
    "Equalize": lambda images, _: image_ops.equalize(images),
}


def augment(name: str, images: Tensor, generator: Generator) -> Tensor:
    """Augment and normalise a batch.

    Args:
        name: "none" (normalise only), "choice224" or "trivial128".
        images: uint8 (N, 3, H, W) of any size, on any device; not changed.
        generator: CPU generator of all draws.

    Returns:
        float32 (N, 3, H, W), normalised, in channels_last memory.
    """
    return normalise(_AUGMENTATIONS[name](images, generator))


def normalise(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) to float32 with ImageNet's mean 0 and standard deviation 1, channels_last memory."""
    rows = images.permute(0, 2, 3, 1).contiguous().flatten(2)  # (N, H, W * 3)
    # Mean and deviation are repeated along the row: a broadcast over three channels is not vectorised.
    mean, std = (
        torch.tensor(values).mul_(255).repeat(images.shape[3]).to(images.device, non_blocking=True)
        for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    normal = rows.float().sub_(mean).div_(std)
    return normal.unflatten(2, (-1, 3)).permute(0, 3, 1, 2)


def resize_crop(images: Tensor, resize: int, crop: int) -> Tensor:
    """uint8 (N, 3, H, W) to uint8 (N, 3, crop, crop): PIL's bicubic resize to a square, then the centre."""
    if images.device.type != "cpu":  # only there does torch resize uint8, and as PIL does
        resized = _resize_in_float(images, resize)
    else:
        resized = functional.interpolate(images, (resize, resize), mode="bicubic", antialias=True)
    start = round((resize - crop) / 2)
    return resized[..., start : start + crop, start : start + crop]


def flip(
    images: Tensor, masks: Tensor, horizontal: float, vertical: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mirror images (N, 3, H, W) and their masks (N, H, W) together, each pair by its own draw.

    Args:
        horizontal: probability of exchanging left and right.
        vertical: probability of exchanging top and bottom.
    """
    share = share_of(images)
    for probability, axis in ((horizontal, -1), (vertical, -2)):
        chosen = share.rows(_coin(share.total, probability, generator))
        images, masks = _mirror(images, chosen, axis), _mirror(masks, chosen, axis)
    return images, masks


def color_jitter(images: Tensor, strength: float, generator: Generator) -> Tensor:
    """Change brightness, contrast and hue of uint8 (N, 3, H, W) images, each image in its own order.

    Args:
        strength: 0-0.5; brightness and contrast factors are uniform in 1 -+ strength, the turn of the
            hue in -+ strength of a circle. 0 returns the input.
    """
    if strength == 0:
        return images
    share = share_of(images)
    return apply_jitter(images, *map(share.rows, draw_jitter(share.total, strength, generator)))


def draw_jitter(count: int, strength: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Parameters (count, 3) of brightness, contrast and hue, and (count, 3) orders of application."""
    parameters = (2 * torch.rand(count, 3, generator=generator) - 1) * strength
    parameters[:, :2] += 1
    return parameters, torch.rand(count, 3, generator=generator).argsort(1)


def apply_jitter(images: Tensor, parameters: Tensor, order: Tensor) -> Tensor:
    """Apply JITTER_OPS: image i gets operation ``order[i, 0]`` first, with ``parameters[i, order[i, 0]]``."""
    images = images.clone(memory_format=torch.contiguous_format)
    for position in range(len(JITTER_OPS)):
        for number, adjust in enumerate(JITTER_OPS):
            _change(images, order[:, position] == number, adjust, parameters[:, number])
    return images


def draw_boxes(count: int, height: int, width: int, generator: Generator) -> Tensor:
    """RandomResizedCrop's boxes: int64 (count, 4) of top, left, height, width.

    The share of the area is uniform and the logarithm of width / height is uniform. A box that does not
    fit is drawn again, ten times in all; then the largest central one of allowed ratio is taken.
    """
    share = torch.rand(count, CROP_TRIES, generator=generator) * (CROP_AREA[1] - CROP_AREA[0]) + CROP_AREA[0]
    low, high = map(math.log, CROP_RATIO)
    ratio = (torch.rand(count, CROP_TRIES, generator=generator) * (high - low) + low).exp()
    area = share * height * width
    sizes = torch.stack([area / ratio, area * ratio], dim=2).sqrt_().round_().long()  # (count, tries, 2)
    fits = ((sizes > 0) & (sizes <= torch.tensor([height, width]))).all(2)
    first = fits.int().argmax(1)  # the first of equals
    size = sizes[torch.arange(count), first]
    room = torch.tensor([height, width]) - size + 1
    corner = (torch.rand(count, 2, generator=generator, dtype=torch.float64) * room).long()
    boxes = torch.cat([corner, size], dim=1)
    return torch.where(fits.any(1, keepdim=True), boxes, torch.tensor(_central_box(height, width)))


def draw_trivial(count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Each image's operation, int64 (count,) positions in OP_NAMES, and its signed magnitude, (count,)."""
    ops = torch.randint(len(OP_NAMES), (count,), generator=generator)
    magnitudes = MAGNITUDES[ops, torch.randint(MAGNITUDES.shape[1], (count,), generator=generator)]
    return ops, torch.where(SIGNED[ops] & _coin(count, 0.5, generator), -magnitudes, magnitudes)


def apply_trivial(images: Tensor, ops: Tensor, magnitudes: Tensor) -> Tensor:
    """Apply to each image its operation of TrivialAugmentWide, as ``draw_trivial`` gives them."""
    images = images.clone(memory_format=torch.contiguous_format)
    for name, change in PHOTOMETRIC_OPS.items():
        _change(images, ops == OP_NAMES.index(name), change, magnitudes)
    geometric = torch.isin(ops, torch.tensor([OP_NAMES.index(name) for name in GEOMETRIC_OPS]))
    matrices = _inverse_matrices(ops, magnitudes, *images.shape[2:])
    _change(images, geometric, image_ops.affine, matrices)
    return images


def _inverse_matrices(ops: Tensor, magnitudes: Tensor, height: int, width: int) -> Tensor:
    """(N, 2, 3) from result to source about the image's middle; identity where the op is not geometric.

    Shears keep the first row or column in place, as PIL's and AutoAugment's do, not the middle one.
    """
    shear_x, shear_y, right, down, angle = (
        torch.where(ops == OP_NAMES.index(name), magnitudes, 0) for name in GEOMETRIC_OPS
    )
    angle = angle.deg2rad()  # counter-clockwise
    x = [angle.cos(), shear_x - angle.sin(), shear_x * height / 2 - right.trunc()]
    y = [shear_y + angle.sin(), angle.cos(), shear_y * width / 2 - down.trunc()]
    return torch.stack(x + y, dim=1).view(-1, 2, 3)


def _central_box(height: int, width: int) -> tuple[int, int, int, int]:
    box_width = min(width, round(height * CROP_RATIO[1]))
    box_height = min(height, round(width / CROP_RATIO[0]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _choice224(images: Tensor, generator: Generator) -> Tensor:
    share, (height, width) = share_of(images), images.shape[2:]
    choice = torch.randint(3, (share.total,), generator=generator)
    boxes = draw_boxes(share.total, height, width, generator)
    mirrored = (choice == 1) & _coin(share.total, 0.5, generator)
    parameters, order = torch.zeros(share.total, 3), torch.zeros(share.total, 3, dtype=torch.int64)
    parameters[choice == 2], order[choice == 2] = draw_jitter(int((choice == 2).sum()), 0.5, generator)
    images = images.clone(memory_format=torch.contiguous_format)
    _change(images, share.rows(choice == 0), image_ops.crop_and_resize, share.rows(boxes))
    _change(images, share.rows(mirrored), lambda part: part.flip(-1))
    _change(images, share.rows(choice == 2), apply_jitter, share.rows(parameters), share.rows(order))
    return images


def _trivial128(images: Tensor, generator: Generator) -> Tensor:
    share = share_of(images)
    images = _mirror(images.contiguous(), share.rows(_coin(share.total, 0.5, generator)), -1)
    return apply_trivial(images, *map(share.rows, draw_trivial(share.total, generator)))


_AUGMENTATIONS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "none": lambda images, _: images,
    "choice224": _choice224,
    "trivial128": _trivial128,
}


def _change(images: Tensor, chosen: Tensor, change: Callable[..., Tensor], *parameters: Tensor) -> None:
    """Overwrite the chosen images with ``change(images, *parameters)`` of them; all but images on the CPU."""
    index = chosen.nonzero().squeeze(1)
    if len(index):
        where = index.to(images.device, non_blocking=True)
        images[where] = change(images.index_select(0, where), *(values[index] for values in parameters))


def _coin(count: int, probability: float, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) < probability


def _mirror(batch: Tensor, chosen: Tensor, axis: int) -> Tensor:
    chosen = chosen.to(batch.device, non_blocking=True).view(-1, *[1] * (batch.ndim - 1))
    return torch.where(chosen, batch.flip(axis), batch)


def _resize_in_float(images: Tensor, size: int) -> Tensor:
    """PIL's order of work: the width, whole levels, the height, whole levels."""
    levels = images.float()
    for shape in ((images.shape[2], size), (size, size)):
        levels = functional.interpolate(levels, shape, mode="bicubic", antialias=True).round_().clamp_(0, 255)
    return levels.to(torch.uint8)
