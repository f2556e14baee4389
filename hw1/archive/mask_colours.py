"""Masks in the course's seven colours from bytes nobody vouches for; what is no such mask is never read as one."""

import collections
from collections.abc import Collection

import numpy as np

from hw1.archive.pictures import PictureError, in_rgb, opened
from hw1.data.classes import CLASS_OF_CODE, LAND_COVER, NO_CLASS, UNKNOWN

COLOURS = "cyan, yellow, magenta, green, blue, white, black"
BETWEEN = (64, 192)  # a channel from here to below there is neither off nor on
MOST_BETWEEN = 0.1  # of a mask's pixels: a smooth resize leaves some at the edges


def decode_mask(data: bytes) -> np.ndarray:
    """Classes of a colour mask: (H, W) uint8, 0 to 6 in the order of LAND_COVER.

    Each channel is cut at 128, as the course's scorer does.

    Raises:
        PictureError: no picture, a JPEG (its colours are not kept), red pixels, class numbers or other colours.
    """
    picture = opened(data)
    if picture.format in ("JPEG", "MPO"):
        raise PictureError("a JPEG, which does not keep a mask's colours; save it as PNG")
    pixels = np.asarray(in_rgb(picture))  # (H, W, 3)
    brightest = int(pixels.max(initial=0))
    if 0 < brightest < BETWEEN[0]:
        raise PictureError(
            f"its brightest value is {brightest}: class numbers, or values of 0 to 1, but a mask has the seven "
            f"colours ({COLOURS}); paint it with them"
        )
    between = ((pixels >= BETWEEN[0]) & (pixels < BETWEEN[1])).any(-1)  # (H, W)
    if between.mean() > MOST_BETWEEN:
        colour = collections.Counter(map(tuple, pixels[between][:10_000].tolist())).most_common(1)[0][0]
        raise PictureError(
            f"{100 * between.mean():.0f} % of its pixels are of other colours than the seven ({COLOURS}), such as RGB "
            f"{colour}; paint it with them"
        )
    red, green, blue = np.moveaxis((pixels >= 128).view(np.uint8), -1, 0)  # (H, W) each
    classes = CLASS_OF_CODE[4 * red + 2 * green + blue]
    wrong = np.argwhere(classes == NO_CLASS)
    if len(wrong):
        row, column = wrong[0]
        raise PictureError(f"red pixel at row {row}, column {column}: red is the colour of no class")
    return classes


def one_class(seen: Collection[int]) -> str:
    """What is wrong with a set of masks of which ``seen`` are all classes; "" where there are two or more."""
    if len(seen) != 1:
        return ""
    (code,) = seen
    colour = " (black)" if code == UNKNOWN else ""
    return f"every pixel of every mask is {LAND_COVER[code]}{colour}, one class alone"
