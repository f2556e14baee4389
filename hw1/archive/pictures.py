"""Pictures from bytes nobody vouches for, and the sizes at which they are stored."""

import io
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

MAX_PIXELS = 50_000_000  # of a picture, 150 MB decoded; DeepGlobe's tiles have 6 million
Image.MAX_IMAGE_PIXELS = None  # Pillow merely warns of large pictures: MAX_PIXELS is checked here

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")  # what promises to be one
DARK = 1 << 13  # levels of 16 bits that a picture must reach: below it would be nearly black in 8 bits
START = 12  # bytes that tell a picture
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # JPEG, PNG, TIFF


class PictureError(ValueError):
    """What is wrong with a picture, and what to do; whoever knows its name adds it."""


def promises_picture(name: str) -> bool:
    """Whether a file's name ends as a picture's; that it is one is then seen, or refused, when it is read."""
    return PurePosixPath(name).suffix.lower() in ENDINGS


def is_picture(start: bytes) -> bool:
    """Whether a file that begins so is a picture that is read, by its signature."""
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    bmp = start[:2] == b"BM" and start[6:10] == bytes(4)  # a text may begin with BM
    return start.startswith(SIGNATURES) or webp or bmp


def decode(data: bytes) -> Image.Image:
    """A JPEG, PNG, WebP, BMP or TIFF in RGB, its pixels in stored order: an EXIF rotation is not applied.

    Greyscale, palette, CMYK and 16-bit pictures are converted; alpha is dropped.
    """
    return in_rgb(opened(data))


def in_rgb(picture: Image.Image) -> Image.Image:
    """A picture that was opened, decoded as :func:`decode` says."""
    try:
        if picture.mode.startswith("I"):  # 16-bit greyscale, which Pillow's convert would cut off at 255
            picture = _eight_bits(np.asarray(picture))
        elif picture.mode == "F":
            raise PictureError("floating-point pixels, whose range nobody knows; save it with 8 or 16 bits")
        return picture.convert("RGB")
    except PictureError:
        raise
    except Exception:  # decoders raise whatever they meet
        raise PictureError(f"not a whole {_format_of(picture)} picture; replace or remove it") from None


def _eight_bits(values: np.ndarray) -> Image.Image:
    if values.min() < 0 or values.max() >= 1 << 16:
        raise PictureError("pixels of more than 16 bits; save it with 8 or 16 bits")
    if 0 < values.max() < DARK:  # reflectances of a satellite, a camera's 12 bits
        told = f"16-bit levels of {values.min():,} to {values.max():,} out of 65,535, which would be nearly black"
        raise PictureError(f"{told}; scale them to the whole range, or to 8 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header alone."""
    return opened(data).size


def resized_crop(picture: Image.Image, resize: int, crop: int, filter: str) -> np.ndarray:
    """Resize to a square of ``resize`` px, ``bicubic`` or ``bilinear``, its centre of ``crop`` px: (crop, crop, 3)
    uint8.
    """
    edge = round((resize - crop) / 2)  # as torchvision's CenterCrop
    if picture.size != (resize, resize):
        picture = picture.resize((resize, resize), Image.Resampling[filter.upper()])
    return np.asarray(picture.crop((edge, edge, edge + crop, edge + crop)))


def square_tile(picture: Image.Image, side: int) -> np.ndarray:
    """Bilinear resize of a satellite tile to a square: (side, side, 3) uint8."""
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))


def opened(data: bytes) -> Image.Image:
    """The picture, its pixels not decoded yet.

    Raises:
        PictureError: none of ``FORMATS``, several pictures in one, or more than MAX_PIXELS.
    """
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        several = picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1  # MPO: a telephone's JPEG
    except Exception:  # decoders raise whatever they meet
        raise PictureError("not a JPEG, PNG, WebP, BMP or TIFF picture; replace or remove it") from None
    if several:
        raise PictureError("an animated picture, or one of several pages; replace it by a single one")
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise PictureError(f"{width} x {height} pixels, at most {MAX_PIXELS:,} are read; make it smaller")
    return picture


def _format_of(picture: Image.Image) -> str:
    return "JPEG" if picture.format == "MPO" else picture.format or ""
