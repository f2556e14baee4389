"""The two augmentations by name. Each image of a batch draws its own choice, operation and parameters.

All draws are made on the CPU by a CPU generator, so that a seed gives the same wherever the images are, and nothing
waits for the device. An augmentation is first drawn, as a list of :class:`Change` whose tensors travel to the device in
one copy, then carried out there. Between operations images stay uint8, which is fast and rounds as torchvision does.
Autocast is off for the changes: in bf16 a level of 255 has no fraction.

Where ranks share a batch, each draws for the whole batch and keeps the rows of its own images.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from hw1.images import image_ops
from hw1.images.kernels import square_root
from hw1.images.shares import share_of
from hw1.images.transfer import send

# RandomResizedCrop's usual ranges (Szegedy et al. 2015, arXiv:1409.4842, section 6).
CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10

JITTER_OPS = (image_ops.adjust_brightness, image_ops.adjust_contrast, image_ops.adjust_hue)

# TrivialAugmentWide (Müller & Hutter 2021, arXiv:2103.10158), as torchvision has it: 31 even steps from the first to
# the last value, signed ones negated every other time.
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
PHOTOMETRIC_OPS: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor], tuple[Tensor, ...]]]] = {
    # name: (operation, its parameters of the magnitudes)
    "Brightness": (image_ops.adjust_brightness, lambda magnitudes: (1 + magnitudes,)),
    "Color": (image_ops.adjust_saturation, lambda magnitudes: (1 + magnitudes,)),
    "Contrast": (image_ops.adjust_contrast, lambda magnitudes: (1 + magnitudes,)),
    "Sharpness": (image_ops.adjust_sharpness, lambda magnitudes: (1 + magnitudes,)),
    "Posterize": (image_ops.posterize, lambda magnitudes: (magnitudes.round(),)),
    "Solarize": (image_ops.solarize, lambda magnitudes: (magnitudes,)),
    "AutoContrast": (image_ops.autocontrast, lambda magnitudes: ()),
    "Equalize": (image_ops.equalize, lambda magnitudes: ()),
}


@dataclass(frozen=True)
class Change:
    """A change of some images of a batch: ``operation(images, *parameters)`` takes the place of images ``index``.

    ``index`` is (n,) int64, the parameters have n rows each, all on the CPU.
    """

    operation: Callable[..., Tensor]
    index: Tensor
    parameters: tuple[Tensor, ...]


def augment(name: str, images: Tensor, generator: Generator, views: int = 1) -> Tensor:
    """Augment a batch, ``views`` times over.

    Args:
        name: "none", "choice224" or "trivial128".
        images: uint8 (N, 3, H, W) of any size, on any device; not changed.
        generator: CPU generator of all draws; each view's follow the ones before.

    Returns:
        uint8 (views * N, 3, H, W), the views one after the other; the input itself where nothing changes.
    """
    share, (height, width) = share_of(images), images.shape[2:]
    draw, changes_of = _AUGMENTATIONS[name]
    each = [draw(share.total, height, width, generator) for _ in range(views)]
    draws = [torch.cat([share.rows(rows) for rows in parts]) for parts in zip(*each, strict=True)]
    changes = list(changes_of(*draws, height, width))
    if changes or views > 1:
        images = images.repeat(views, 1, 1, 1)  # NCHW, in memory of its own
    return _carry_out(images, changes)


def flip(
    images: Tensor, masks: Tensor, horizontal: float, vertical: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mirror images (N, 3, H, W) and their masks (N, H, W) together, each pair by its own draw.

    Args:
        horizontal: probability of exchanging left and right.
        vertical: probability of exchanging top and bottom.
    """
    share = share_of(images)
    drawn = [share.rows(_coins(share.total, probability, generator)) for probability in (horizontal, vertical)]
    axes = [axis for coin, axis in zip(drawn, (-1, -2), strict=True) if coin.any()]
    for chosen, axis in zip(send([coin for coin in drawn if coin.any()], images.device), axes, strict=True):
        images = torch.where(chosen.view(-1, 1, 1, 1), images.flip(axis), images)
        masks = torch.where(chosen.view(-1, 1, 1), masks.flip(axis), masks)
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


def _where(chosen: Tensor, operation: Callable[..., Tensor], *parameters: Tensor) -> Iterator[Change]:
    """The change of the chosen images, (N,) bool, each with its rows of the parameters; none if none is chosen."""
    index = chosen.nonzero().squeeze(1)
    if len(index):
        yield Change(operation, index, tuple(values[index] for values in parameters))


def _carry_out(images: Tensor, changes: Sequence[Change]) -> Tensor:
    """Make the changes in their order, in place, in full precision; all that they need travels in one copy."""
    needed = (tensor for change in changes for tensor in (change.index, *change.parameters))
    sent = iter(send(list(needed), images.device))
    with torch.autocast(images.device.type, enabled=False):
        for change in changes:
            index, *parameters = (next(sent) for _ in range(1 + len(change.parameters)))
            images[index] = change.operation(images.index_select(0, index), *parameters)
    return images


def _coins(count: int, probability: float, generator: Generator) -> Tensor:
    """(count,) bool, each true with this ``probability``."""
    return torch.rand(count, generator=generator) < probability


# -- jitter, crop, mirror


def draw_jitter(count: int, strength: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Parameters (count, 3) of brightness, contrast and hue, and (count, 3) orders of application."""
    parameters = (2 * torch.rand(count, 3, generator=generator) - 1) * strength
    parameters[:, :2] += 1
    return parameters, torch.rand(count, 3, generator=generator).argsort(1)


def apply_jitter(images: Tensor, parameters: Tensor, order: Tensor) -> Tensor:
    """Apply JITTER_OPS: image i gets operation ``order[i, 0]`` first, with ``parameters[i, order[i, 0]]``."""
    images = images.clone(memory_format=torch.contiguous_format)
    return _carry_out(images, list(_jitter_changes(torch.ones(len(images), dtype=torch.bool), parameters, order)))


def _jitter_changes(chosen: Tensor, parameters: Tensor, order: Tensor) -> Iterator[Change]:
    for position in range(len(JITTER_OPS)):
        for number, adjust in enumerate(JITTER_OPS):
            yield from _where(chosen & (order[:, position] == number), adjust, parameters[:, number])


def draw_boxes(count: int, height: int, width: int, generator: Generator) -> Tensor:
    """RandomResizedCrop's boxes: int64 (count, 4) of top, left, height, width.

    The share of the area is uniform and the logarithm of width / height is uniform. A box that does not
    fit is drawn again, ten times in all; then the largest central one of allowed ratio is taken.
    """
    share = torch.rand(count, CROP_TRIES, generator=generator) * (CROP_AREA[1] - CROP_AREA[0]) + CROP_AREA[0]
    low, high = map(math.log, CROP_RATIO)
    ratio = (torch.rand(count, CROP_TRIES, generator=generator) * (high - low) + low).exp()
    area = share * height * width
    sizes = square_root(torch.stack([area / ratio, area * ratio], dim=2)).round_().long()  # (count, tries, 2)
    fits = ((sizes > 0) & (sizes <= torch.tensor([height, width]))).all(2)
    first = fits.int().argmax(1)  # the first of equals
    size = sizes[torch.arange(count), first]
    room = torch.tensor([height, width]) - size + 1
    corner = (torch.rand(count, 2, generator=generator, dtype=torch.float64) * room).long()
    boxes = torch.cat([corner, size], dim=1)
    central_height, central_width = min(height, round(width / CROP_RATIO[0])), min(width, round(height * CROP_RATIO[1]))
    central = (height - central_height) // 2, (width - central_width) // 2, central_height, central_width
    return torch.where(fits.any(1, keepdim=True), boxes, torch.tensor(central))


def _draw_choice(count: int, height: int, width: int, generator: Generator) -> tuple[Tensor, ...]:
    choice = torch.randint(3, (count,), generator=generator)
    boxes = draw_boxes(count, height, width, generator)
    mirrored = (choice == 1) & _coins(count, 0.5, generator)
    parameters, order = torch.zeros(count, 3), torch.zeros(count, 3, dtype=torch.int64)
    parameters[choice == 2], order[choice == 2] = draw_jitter(int((choice == 2).sum()), 0.5, generator)
    return choice, boxes, mirrored, parameters, order


def _choice_changes(
    choice: Tensor, boxes: Tensor, mirrored: Tensor, parameters: Tensor, order: Tensor, *_: int
) -> Iterator[Change]:
    yield from _where(choice == 0, image_ops.crop_and_resize, boxes.float())
    yield from _where(mirrored, image_ops.mirror)
    yield from _jitter_changes(choice == 2, parameters, order)


# -- TrivialAugmentWide


def draw_trivial(count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Each image's operation, int64 (count,) positions in OP_NAMES, and its signed magnitude, (count,)."""
    ops = torch.randint(len(OP_NAMES), (count,), generator=generator)
    magnitudes = MAGNITUDES[ops, torch.randint(MAGNITUDES.shape[1], (count,), generator=generator)]
    return ops, torch.where(SIGNED[ops] & _coins(count, 0.5, generator), -magnitudes, magnitudes)


def apply_trivial(images: Tensor, ops: Tensor, magnitudes: Tensor) -> Tensor:
    """Apply to each image its operation of TrivialAugmentWide, as ``draw_trivial`` gives them."""
    images = images.clone(memory_format=torch.contiguous_format)
    return _carry_out(images, list(_trivial_changes(ops, magnitudes, *images.shape[2:])))


def _trivial_changes(ops: Tensor, magnitudes: Tensor, height: int, width: int) -> Iterator[Change]:
    for name, (operation, parameters_of) in PHOTOMETRIC_OPS.items():
        yield from _where(ops == OP_NAMES.index(name), operation, *parameters_of(magnitudes))
    geometric = torch.isin(ops, torch.tensor([OP_NAMES.index(name) for name in GEOMETRIC_OPS]))
    yield from _where(geometric, image_ops.affine, _inverse_matrices(ops, magnitudes, height, width))


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


def _draw_mirrored_trivial(count: int, height: int, width: int, generator: Generator) -> tuple[Tensor, ...]:
    return _coins(count, 0.5, generator), *draw_trivial(count, generator)


def _mirrored_trivial_changes(mirrored: Tensor, *trivial: Tensor | int) -> Iterator[Change]:
    yield from _where(mirrored, image_ops.mirror)
    yield from _trivial_changes(*trivial)


# name: (number of images, height, width, generator -> what is drawn, a row for each image; that -> changes)
_AUGMENTATIONS: dict[str, tuple[Callable[..., tuple[Tensor, ...]], Callable[..., Iterator[Change]]]] = {
    "none": (lambda *_: (), lambda *_: iter(())),
    "choice224": (_draw_choice, _choice_changes),
    "trivial128": (_draw_mirrored_trivial, _mirrored_trivial_changes),
}
