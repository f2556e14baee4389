"""Pictures and masks from bytes nobody vouches for, the sizes at which they are stored, and threads that decode."""

import collections
import io
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TypeVar

import numpy as np
from PIL import Image

from hw1.data.classes import CLASS_OF_CODE, LAND_COVER, NO_CLASS, UNKNOWN
from hw1.run.processes.numerics import cores

MAX_PIXELS = 50_000_000  # of a picture, 150 MB decoded; DeepGlobe's tiles have 6 million
Image.MAX_IMAGE_PIXELS = None  # Pillow merely warns of large pictures: MAX_PIXELS is checked here

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")  # what promises to be one
DARK = 1 << 13  # levels of 16 bits that a picture must reach: below it would be nearly black in 8 bits
START = 12  # bytes that tell a picture
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # JPEG, PNG, TIFF

COLOURS = "cyan, yellow, magenta, green, blue, white, black"
BETWEEN = (64, 192)  # a mask's channel from here to below there is neither off nor on
MOST_BETWEEN = 0.1  # of a mask's pixels: a smooth resize leaves some at the edges
AHEAD = 2  # chunks for each thread, at most, that are done or under way before they are wanted

T, R = TypeVar("T"), TypeVar("R")


class PictureError(ValueError):
    """A fault of a picture, and what to do; whoever knows its name adds it."""


def promises_picture(name: str) -> bool:
    """Tell whether a file's name ends as a picture's; that it is one is then seen, or refused, when it is read."""
    return PurePosixPath(name).suffix.lower() in ENDINGS


def is_picture(start: bytes) -> bool:
    """Tell whether a file that begins so is a picture that is read, by its signature."""
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    bmp = start[:2] == b"BM" and start[6:10] == bytes(4)  # a text may begin with BM
    return start.startswith(SIGNATURES) or webp or bmp


def decode(data: bytes) -> Image.Image:
    """Decode a JPEG, PNG, WebP, BMP or TIFF to RGB, its pixels in stored order: an EXIF rotation is not applied.

    Greyscale, palette, CMYK and 16-bit pictures are converted; alpha is dropped.
    """
    return in_rgb(opened(data))


def in_rgb(picture: Image.Image) -> Image.Image:
    """Decode a picture that was opened, as :func:`decode` says."""
    try:
        if picture.mode.startswith("I"):  # 16-bit greyscale, which Pillow's convert would cut off at 255
            picture = _eight_bits(np.asarray(picture))
        elif picture.mode == "F":
            raise PictureError("floating-point pixels, whose range nobody knows; save it with 8 or 16 bits")
        return picture.convert("RGB")
    except PictureError:
        raise
    except Exception:  # decoders raise whatever they meet
        kind = "JPEG" if picture.format == "MPO" else picture.format or ""
        raise PictureError(f"not a whole {kind} picture; replace or remove it") from None


def _eight_bits(values: np.ndarray) -> Image.Image:
    if values.min() < 0 or values.max() >= 1 << 16:
        raise PictureError("pixels of more than 16 bits; save it with 8 or 16 bits")
    if 0 < values.max() < DARK:  # reflectances of a satellite, a camera's 12 bits
        levels = f"16-bit levels of {values.min():,} to {values.max():,} out of 65,535"
        raise PictureError(f"{levels}, which would be nearly black; scale them to the whole range, or to 8 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))


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
    """Open a picture, its pixels not decoded yet.

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


def decode_mask(data: bytes) -> np.ndarray:
    """Decode a colour mask to classes: (H, W) uint8, 0 to 6 in the order of LAND_COVER.

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
        values = f"its brightest value is {brightest}: class numbers, or values of 0 to 1"
        raise PictureError(f"{values}, but a mask has the seven colours ({COLOURS}); paint it with them")
    between = ((pixels >= BETWEEN[0]) & (pixels < BETWEEN[1])).any(-1)  # (H, W)
    if between.mean() > MOST_BETWEEN:
        colour = collections.Counter(map(tuple, pixels[between][:10_000].tolist())).most_common(1)[0][0]
        share = f"{100 * between.mean():.0f} % of its pixels"
        raise PictureError(f"{share} are of other colours than the seven ({COLOURS}), such as RGB {colour}; repaint it")
    red, green, blue = np.moveaxis((pixels >= 128).view(np.uint8), -1, 0)  # (H, W) each
    classes = CLASS_OF_CODE[4 * red + 2 * green + blue]
    wrong = np.argwhere(classes == NO_CLASS)
    if len(wrong):
        row, column = wrong[0]
        raise PictureError(f"red pixel at row {row}, column {column}: red is the colour of no class")
    return classes


def one_class(seen: Collection[int]) -> str:
    """Name the fault of a set of masks of which ``seen`` are all classes; "" where there are two or more."""
    if len(seen) != 1:
        return ""
    (code,) = seen
    colour = " (black)" if code == UNKNOWN else ""
    return f"every pixel of every mask is {LAND_COVER[code]}{colour}, one class alone"


def in_threads(function: Callable[[T], R], items: Iterable[T], chunk: int) -> Iterator[R]:
    """``map`` over threads: for work that leaves the interpreter lock, as Pillow's decoding and resizing does.

    Threads take ``chunk`` items at a time; handing over single small pictures would cost more than they do.
    An error is raised where its item's result would come.
    """
    threads = cores()
    items = iter(items)
    waiting: collections.deque = collections.deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                while len(waiting) < AHEAD * threads and (part := list(itertools.islice(items, chunk))):
                    waiting.append(pool.submit(lambda part: [function(item) for item in part], part))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
