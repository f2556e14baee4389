"""Pixel operations on batches of images in which every image has its own parameters.

Unless a docstring says otherwise, images are uint8 (N, 3, H, W) with levels 0-255, on any device, and
come back the same; parameters are (N,) tensors beside them or on the CPU, one value per image. Rounding follows
torchvision's operations on uint8 tensors, against which the tests compare each of these.
"""

import functools

import torch
from torch import Tensor
from torch.nn import functional

# ITU-R BT.601 luma, with the four digits that torchvision uses.
RED_LUMA, GREEN_LUMA, BLUE_LUMA = 0.2989, 0.587, 0.114


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Scale all levels: 0 is black, 1 the image itself, 2 twice as bright."""
    return _to_levels(images * _per_image(factor, images))


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Move the levels away from (factor above 1) or towards (below 1) the image's mean luma."""
    mean = _luma(images).float().mean((1, 2, 3), keepdim=True)
    return _blend(images, mean, factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Move the colours away from (factor above 1) or towards (below 1) the pixel's own grey."""
    return _blend(images, _luma(images), factor)


def adjust_sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Move the image away from (factor above 1) or towards (below 1) its 3x3 smoothing.

    The kernel is ones with 5 in the middle, over 13; pixels of the border are not smoothed.
    """
    levels = images.short()  # nine levels and four more stay below 2**15
    rows = levels[..., :-2, :] + levels[..., 1:-1, :] + levels[..., 2:, :]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = images.float()
    smooth[..., 1:-1, 1:-1] = box.add_(levels[..., 1:-1, 1:-1], alpha=4).float().div_(13).round_()
    return _blend(images, smooth, factor)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by ``shift`` of a full circle, in [-0.5, 0.5], at constant HSV saturation and value."""
    levels = images.float()
    red, green, blue = levels.unbind(1)  # each (N, H, W)
    low, high = levels.amin(1), levels.amax(1)
    chroma = high - low
    divisor = chroma.clamp(min=1)  # levels are whole numbers: only a grey pixel has less, and its hue is 0
    hue = torch.where(
        high == red,
        (green - blue) / divisor,
        torch.where(high == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )  # in sixths of a circle
    hue = hue.add_(6 * _per_image(shift, images).squeeze(1)).remainder_(6)
    # The share of the chroma in each channel is a trapezium over the hue: red falls between 1 and 2 and
    # rises between 4 and 5; green and blue are the same shape 2 and 4 sixths further on.
    centre, slope, offset = _trapeziums(images.device)
    share = (hue.unsqueeze(1) - centre).abs_().mul_(slope).add_(offset).clamp_(0, 1)  # (N, 3, H, W)
    turned = share.mul_(chroma.unsqueeze(1)).add_(low.unsqueeze(1))
    # torchvision goes through [0, 1] and back with this factor instead of rounding.
    return turned.mul_(255.999 / 255).to(torch.uint8)


@functools.lru_cache(maxsize=16)
def _trapeziums(device: torch.device) -> tuple[Tensor, ...]:
    """Centre, slope and offset of red, green and blue: (3, 1, 1) each."""
    values = (3.0, 2.0, 4.0), (1.0, -1.0, -1.0), (-1.0, 2.0, 2.0)
    return tuple(torch.tensor(of_channels).view(3, 1, 1).to(device) for of_channels in values)


def mirror(images: Tensor) -> Tensor:
    """Exchange left and right."""
    return images.flip(-1)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest ``bits`` (1-8) of each level."""
    mask = (256 - 2 ** (8 - bits.long())).to(torch.uint8)
    return images & _per_image(mask, images)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the levels at or above ``threshold`` (0-255, need not be whole)."""
    return torch.where(images >= _per_image(threshold, images), 255 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to 0-255; a channel of one level stays."""
    low = images.amin((2, 3), keepdim=True).float()
    span = images.amax((2, 3), keepdim=True).float() - low
    flat = span == 0
    scale = torch.where(flat, 1, 255 / span)
    return _to_levels((images - low.masked_fill(flat, 0)).mul_(scale))


def equalize(images: Tensor) -> Tensor:
    """Make each channel's histogram as flat as PIL's ImageOps.equalize does."""
    count, channels, height, width = images.shape
    values = images.reshape(count * channels, height * width).long()
    one = torch.ones((), dtype=torch.int32, device=images.device)
    # scatter_add_ and not bincount, which waits for the device to learn the largest value.
    histogram = torch.zeros(len(values), 256, dtype=torch.int32, device=images.device)
    histogram.scatter_add_(1, values, one.expand_as(values))
    up_to = histogram.cumsum(1)  # pixels at or below each level
    below_highest = torch.where(up_to < height * width, up_to, 0).amax(1, keepdim=True)
    step = below_highest // 255
    table = (up_to - histogram + step // 2) // step.clamp(min=1)
    # Fewer than 255 pixels below the highest level leave nothing to spread: the channel stays.
    table = torch.where(step == 0, torch.arange(256, device=images.device), table.clamp_(max=255))
    return table.to(torch.uint8).gather(1, values).view_as(images)


def affine(images: Tensor, matrices: Tensor) -> Tensor:
    """Nearest-neighbour affine transform; what comes from outside the image is black.

    Args:
        matrices: (N, 2, 3), from a pixel of the result to its source; pixel centres, (x, y), the origin
            in the middle of the image.
    """
    count, channels, height, width = images.shape
    xx, xy, x0, yx, yy, y0 = _on(matrices.float(), images).view(count, 6, 1, 1).unbind(1)
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = (torch.arange(height, device=images.device) - (height - 1) / 2).view(-1, 1)
    column = (xx * x + xy * y).add_(x0 + (width - 1) / 2)  # (N, H, W)
    row = (yx * x + yy * y).add_(y0 + (height - 1) / 2)
    # A black frame one pixel wide stands for all that lies outside.
    framed = functional.pad(images, (1, 1, 1, 1)).flatten(2)
    column = column.round_().clamp_(-1, width).long()
    row = row.round_().clamp_(-1, height).long()
    source = row.add_(1).mul_(width + 2).add_(column).add_(1).view(count, 1, -1)
    return framed.gather(2, source.expand(-1, channels, -1)).view_as(images)


def crop_and_resize(images: Tensor, boxes: Tensor) -> Tensor:
    """Cut a box out of each image and scale it back to (H, W): bilinear, antialiased.

    Args:
        boxes: (N, 4), whole numbers (top, left, height, width) in pixels, inside the image.
    """
    count, channels, height, width = images.shape
    top, left, box_height, box_width = _on(boxes.float(), images).unbind(1)
    across = _resampling(left, box_width, width)  # (N, W, W)
    down = _resampling(top, box_height, height)  # (N, H, H)
    rows = images.float().reshape(count, channels * height, width) @ across.transpose(1, 2)
    rows = rows.view(count, channels, height, width).transpose(1, 2).reshape(count, height, -1)
    result = (down @ rows).round_().to(torch.uint8)  # (N, H, 3 * W)
    return result.view(count, height, channels, width).transpose(1, 2)


def _resampling(start: Tensor, length: Tensor, size: int) -> Tensor:
    """(N, size, size) weights that stretch or shrink [start, start + length) to ``size`` pixels.

    A triangle around each source position, as wide as the larger of a source pixel and a result's
    pixel, cut at the ends of the interval and normalised: PIL's and torch's antialiased bilinear filter.
    """
    start, length = start.view(-1, 1, 1), length.view(-1, 1, 1)
    pixel = torch.arange(size, device=start.device) + 0.5
    scale = length / size
    centre = start + scale * pixel.view(-1, 1)  # (N, size, 1)
    weights = (1 - (pixel - centre).abs_().div_(scale.clamp(min=1))).clamp_(min=0)
    weights *= (pixel > start) & (pixel < start + length)
    return weights.div_(weights.sum(2, keepdim=True))


def _luma(images: Tensor) -> Tensor:
    """uint8 (N, 1, H, W)"""
    red, green, blue = images.split(1, dim=1)
    return (RED_LUMA * red + GREEN_LUMA * green + BLUE_LUMA * blue).to(torch.uint8)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor * images + (1 - factor) * other, where a factor above 1 moves away from ``other``."""
    return _to_levels((images * _per_image(factor, images)).add_(other * _per_image(1 - factor, images)))


def _to_levels(levels: Tensor) -> Tensor:
    return levels.clamp_(0, 255).to(torch.uint8)  # cuts the fraction, as torchvision does


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """(N,) on the CPU -> (N, 1, 1, 1) beside ``images``, floats as float32."""
    values = values.float() if values.is_floating_point() else values
    return _on(values, images).view(-1, 1, 1, 1)


def _on(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.device, non_blocking=True)
