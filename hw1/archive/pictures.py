"""Pictures and masks from bytes nobody vouches for, and the sizes at which they are stored."""

import io

import numpy as np
from PIL import Image

from hw1.data.classes import CLASS_OF_CODE, NO_CLASS

MAX_PIXELS = 50_000_000  # of a picture, 150 MB decoded; DeepGlobe's tiles have 6 million
Image.MAX_IMAGE_PIXELS = None  # Pillow merely warns of large pictures: MAX_PIXELS is checked here


class PictureError(ValueError):
    """What is wrong with a picture, and what to do; whoever knows its name adds it."""


def decode(data: bytes) -> Image.Image:
    """A JPEG or PNG in RGB, its pixels in stored order: an EXIF rotation is not applied.

    Greyscale, palette, CMYK and 16-bit pictures are converted; alpha is dropped.
    """
    picture = _opened(data)
    try:
        if picture.mode.startswith("I"):  # 16-bit greyscale, which Pillow's convert would cut off at 255
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        return picture.convert("RGB")
    except Exception:  # decoders raise whatever they meet
        raise PictureError("not a whole JPEG or PNG picture; replace or remove it") from None


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header alone."""
    return _opened(data).size


def decode_mask(data: bytes) -> np.ndarray:
    """Classes of a colour mask: (H, W) uint8, 0 to 6 in the order of LAND_COVER."""
    red, green, blue = np.moveaxis((np.asarray(decode(data)) >= 128).view(np.uint8), -1, 0)  # (H, W) each
    classes = CLASS_OF_CODE[4 * red + 2 * green + blue]
    wrong = np.argwhere(classes == NO_CLASS)
    if len(wrong):
        row, column = wrong[0]
        raise PictureError(f"red pixel at row {row}, column {column}: red is the colour of no class")
    return classes


def resized_crop(picture: Image.Image, resize: int, crop: int) -> np.ndarray:
    """Bicubic resize to a square of ``resize`` px, its centre of ``crop`` px: (crop, crop, 3) uint8."""
    edge = round((resize - crop) / 2)  # as torchvision's CenterCrop
    if picture.size != (resize, resize):
        picture = picture.resize((resize, resize), Image.Resampling.BICUBIC)
    return np.asarray(picture.crop((edge, edge, edge + crop, edge + crop)))


def square_tile(picture: Image.Image, side: int) -> np.ndarray:
    """Bilinear resize of a satellite tile to a square: (side, side, 3) uint8."""
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))


def _opened(data: bytes) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        animated = picture.format == "PNG" and picture.is_animated
    except Exception:  # decoders raise whatever they meet
        raise PictureError("not a JPEG or PNG picture; replace or remove it") from None
    if animated:
        raise PictureError("an animated picture; replace it by a still one")
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise PictureError(f"{width} x {height} pixels, at most {MAX_PIXELS:,} are read; make it smaller")
    return picture
