"""TrivialAugmentWide: one operation an image, of a strength drawn evenly.

Müller & Hutter 2021, arXiv:2103.10158, the wide space; each image of a batch has its own draw.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor

from hw1.images import image_ops
from hw1.images.changes import Change, carry_out, coins, where

# As torchvision has them: 31 even steps from the first to the last value, signed ones negated every other time.
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


def draw_trivial(count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Each image's operation, int64 (count,) positions in OP_NAMES, and its signed magnitude, (count,)."""
    ops = torch.randint(len(OP_NAMES), (count,), generator=generator)
    magnitudes = MAGNITUDES[ops, torch.randint(MAGNITUDES.shape[1], (count,), generator=generator)]
    return ops, torch.where(SIGNED[ops] & coins(count, 0.5, generator), -magnitudes, magnitudes)


def apply_trivial(images: Tensor, ops: Tensor, magnitudes: Tensor) -> Tensor:
    """Apply to each image its operation of TrivialAugmentWide, as ``draw_trivial`` gives them."""
    images = images.clone(memory_format=torch.contiguous_format)
    carry_out(images, list(trivial_changes(ops, magnitudes, *images.shape[2:])))
    return images


def trivial_changes(ops: Tensor, magnitudes: Tensor, height: int, width: int) -> Iterator[Change]:
    for name, (operation, parameters_of) in PHOTOMETRIC_OPS.items():
        yield from where(ops == OP_NAMES.index(name), operation, *parameters_of(magnitudes))
    geometric = torch.isin(ops, torch.tensor([OP_NAMES.index(name) for name in GEOMETRIC_OPS]))
    yield from where(geometric, image_ops.affine, _inverse_matrices(ops, magnitudes, height, width))


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
