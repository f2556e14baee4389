"""The two augmentations by name. Each image of a batch draws its own choice, operation and parameters.

All draws come from a CPU generator and are made on the CPU: a seed gives the same draws wherever the
images are, the lists of images per operation are known without asking the device, and nothing here
waits for it. So an augmentation is first drawn, as a list of :class:`Change`, whose tensors then travel to the
device in one copy, and carried out there. Between operations images stay uint8, which is fast and rounds as
torchvision does. Autocast is off for the changes: in bf16 a level of 255 has no fraction.

Where ranks share a batch, each draws for the whole batch and keeps the rows of its own images.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor

from hw1.images import image_ops
from hw1.images.changes import Change, carry_out, coins, where
from hw1.images.kernels import square_root
from hw1.images.shares import share_of
from hw1.images.transfer import send
from hw1.images.trivial import draw_trivial, trivial_changes

# RandomResizedCrop's usual ranges (Szegedy et al. 2015, arXiv:1409.4842, section 6).
CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10

JITTER_OPS = (image_ops.adjust_brightness, image_ops.adjust_contrast, image_ops.adjust_hue)


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
    carry_out(images, changes)
    return images


def flip(
    images: Tensor, masks: Tensor, horizontal: float, vertical: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mirror images (N, 3, H, W) and their masks (N, H, W) together, each pair by its own draw.

    Args:
        horizontal: probability of exchanging left and right.
        vertical: probability of exchanging top and bottom.
    """
    share = share_of(images)
    drawn = [share.rows(coins(share.total, probability, generator)) for probability in (horizontal, vertical)]
    axes = [axis for coin, axis in zip(drawn, (-1, -2), strict=True) if coin.any()]
    for chosen, axis in zip(send([coin for coin in drawn if coin.any()], images.device), axes, strict=True):
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
    carry_out(images, list(_jitter_changes(torch.ones(len(images), dtype=torch.bool), parameters, order)))
    return images


def _jitter_changes(chosen: Tensor, parameters: Tensor, order: Tensor) -> Iterator[Change]:
    for position in range(len(JITTER_OPS)):
        for number, adjust in enumerate(JITTER_OPS):
            yield from where(chosen & (order[:, position] == number), adjust, parameters[:, number])


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
    return torch.where(fits.any(1, keepdim=True), boxes, torch.tensor(_central_box(height, width)))


def _central_box(height: int, width: int) -> tuple[int, int, int, int]:
    box_width = min(width, round(height * CROP_RATIO[1]))
    box_height = min(height, round(width / CROP_RATIO[0]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _draw_choice(count: int, height: int, width: int, generator: Generator) -> tuple[Tensor, ...]:
    choice = torch.randint(3, (count,), generator=generator)
    boxes = draw_boxes(count, height, width, generator)
    mirrored = (choice == 1) & coins(count, 0.5, generator)
    parameters, order = torch.zeros(count, 3), torch.zeros(count, 3, dtype=torch.int64)
    parameters[choice == 2], order[choice == 2] = draw_jitter(int((choice == 2).sum()), 0.5, generator)
    return choice, boxes, mirrored, parameters, order


def _choice_changes(
    choice: Tensor, boxes: Tensor, mirrored: Tensor, parameters: Tensor, order: Tensor, height: int, width: int
) -> Iterator[Change]:
    yield from where(choice == 0, image_ops.crop_and_resize, boxes.float())
    yield from where(mirrored, image_ops.mirror)
    yield from _jitter_changes(choice == 2, parameters, order)


def _draw_mirrored_trivial(count: int, height: int, width: int, generator: Generator) -> tuple[Tensor, ...]:
    return coins(count, 0.5, generator), *draw_trivial(count, generator)


def _mirrored_trivial_changes(
    mirrored: Tensor, ops: Tensor, magnitudes: Tensor, height: int, width: int
) -> Iterator[Change]:
    yield from where(mirrored, image_ops.mirror)
    yield from trivial_changes(ops, magnitudes, height, width)


# name: (number of images, height, width, generator -> what is drawn, a row for each image; that -> changes)
_AUGMENTATIONS: dict[str, tuple[Callable[..., tuple[Tensor, ...]], Callable[..., Iterator[Change]]]] = {
    "none": (lambda *_: (), lambda *_: iter(())),
    "choice224": (_draw_choice, _choice_changes),
    "trivial128": (_draw_mirrored_trivial, _mirrored_trivial_changes),
}


def _mirror(batch: Tensor, chosen: Tensor, axis: int) -> Tensor:
    return torch.where(chosen.view(-1, *[1] * (batch.ndim - 1)), batch.flip(axis), batch)
