"""Drawn pictures of small objects: the images of P1, Mini and Office in the embedded data set.

A picture shows one object under changing colour, place, size, rotation, background, clutter, light and
noise. Its class is a pair (outline, fill); colours are drawn per image and say nothing about it. The
parts hold disjoint pairs of the same outlines and fills, so that features learned on Mini help on
Office although the classes differ.

Images are drawn in the square [-1, 1] x [-1, 1], y downwards, in float32 with channels in 0..1.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

PARTS = ("p1", "mini", "office")
BATCH = 64  # images drawn at once, which bounds the memory
SUPERSAMPLING = 2  # objects are drawn at twice the size and averaged, which smooths their outlines
KIND_ORDER = 1  # seed of the fixed order in which the parts take their classes
CLUTTER = 4  # ellipses behind the object
TILT = np.radians(30)  # either way; decides how hard the pictures are, at any angle few learn them


def star(theta: np.ndarray, points: int, inner: float) -> np.ndarray:
    """Tips at radius 1, notches at ``inner``, straight edges between them."""
    half = np.pi / points
    phi = np.abs((theta + half) % (2 * half) - half)
    height = inner * np.sin(half)
    return height / (height * np.cos(phi) + (1 - inner * np.cos(half)) * np.sin(phi))


def polygon(theta: np.ndarray, corners: int) -> np.ndarray:
    return star(theta, corners, np.cos(np.pi / corners))


def flower(theta: np.ndarray, petals: int) -> np.ndarray:
    return 0.72 + 0.28 * np.cos(petals * theta)


def gear(theta: np.ndarray, teeth: int) -> np.ndarray:
    return 0.84 + 0.16 * np.clip(3 * np.cos(teeth * theta), -1, 1)


def rectangle(theta: np.ndarray, half_width: float) -> np.ndarray:
    """Reaches +-1 along one axis and +-``half_width`` along the other."""
    along = np.maximum(np.abs(np.cos(theta)), 1e-6)
    across = np.maximum(np.abs(np.sin(theta)), 1e-6)
    return np.minimum(1 / along, half_width / across)


def cross(theta: np.ndarray) -> np.ndarray:
    return np.maximum(rectangle(theta, 0.3), rectangle(theta + np.pi / 2, 0.3))


def ellipse(theta: np.ndarray, half_width: float) -> np.ndarray:
    return half_width / np.hypot(half_width * np.cos(theta), np.sin(theta))


def mirrored(theta: np.ndarray, radii: tuple[float, ...]) -> np.ndarray:
    """Mirror-symmetric outline through ``radii``, evenly spaced from its axis (0) to the axis (pi)."""
    angle = np.abs((theta + np.pi) % (2 * np.pi) - np.pi)
    return np.interp(angle, np.linspace(0, np.pi, len(radii)), radii)


# An outline is the radius R(theta) around the object's centre; its farthest point lies near 1.
OUTLINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "disc": partial(ellipse, half_width=1),
    "ellipse": partial(ellipse, half_width=0.5),
    "bar": partial(rectangle, half_width=0.32),
    "triangle": partial(polygon, corners=3),
    "square": partial(polygon, corners=4),
    "hexagon": partial(polygon, corners=6),
    "star4": partial(star, points=4, inner=0.4),
    "star5": partial(star, points=5, inner=0.45),
    "flower3": partial(flower, petals=3),
    "flower5": partial(flower, petals=5),
    "gear": partial(gear, teeth=8),
    "cross": cross,
    "heart": partial(mirrored, radii=(0.42, 0.64, 0.84, 0.93, 0.93, 0.88, 0.82, 0.78, 0.76, 0.76, 0.79, 0.87, 1)),
    "teardrop": partial(mirrored, radii=(1.15, 0.8, 0.66, 0.6, 0.57, *(0.56,) * 8)),
}


# A fill says where the object has its second colour: above zero there, below elsewhere, with a slope
# near 1 at the border. ``u``, ``v`` are the object's own axes, the outline within the unit circle;
# ``depth`` runs from 0 in its centre to 1 on the outline.
FILLS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "plain": lambda u, v, depth: np.full_like(depth, -1),
    "core": lambda u, v, depth: 0.55 - depth,
    "stripes": lambda u, v, depth: np.sin(8 * u) / 8,
    "checks": lambda u, v, depth: np.sin(5.5 * u) * np.sin(5.5 * v) / 5.5,
    "dots": lambda u, v, depth: 0.18 - np.hypot((u + 0.3) % 0.6 - 0.3, (v + 0.3) % 0.6 - 0.3),
}


class Kind(NamedTuple):
    """A class: an entry of OUTLINES and one of FILLS."""

    outline: str
    fill: str


def kinds(part: str, classes: int) -> list[Kind]:
    """The kinds that are labels 0, 1, ... of ``part``; at most 20 ``classes``.

    The parts take every third entry of one list in a fixed order, whatever the seed of the pictures:
    no kind is in two parts, and each part gets a mixture.
    """
    pairs = [Kind(*pair) for pair in product(OUTLINES, FILLS)]
    order = np.random.default_rng(KIND_ORDER).permutation(len(pairs))
    return [pairs[index] for index in order[PARTS.index(part) :: len(PARTS)][:classes]]


def draw(labels: np.ndarray, classes: list[Kind], size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """One (size, size, 3) uint8 RGB picture for each of ``labels``, which index ``classes``."""
    for start in range(0, len(labels), BATCH):
        yield from _draw_batch(labels[start : start + BATCH], classes, size, rng)


def _draw_batch(labels: np.ndarray, classes: list[Kind], size: int, rng: np.random.Generator) -> np.ndarray:
    count = len(labels)
    ground, body, accent = _colours(count, rng)
    first, second = _object(labels, classes, size, rng)  # (N, size, size, 1) both
    image = (1 - first - second) * _background(ground, size, rng) + first * body + second * accent
    image *= _light(count, size, rng)
    image += _uniform(rng, count, 0.01, 0.07) * rng.standard_normal(image.shape, np.float32)  # sensor noise
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def _colours(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 1, 1, 3) per image: a muted ground, a bright body, a dark accent; any hue.

    The order of brightness is the same for all, as a small network cannot learn shapes of either
    polarity from the few hundred pictures of a quick run.
    """
    grey, body, accent = rng.random((3, count, 1, 1, 3), np.float32)
    ground = 0.3 + 0.3 * grey
    body /= body.max(-1, keepdims=True)  # full brightness, whatever the hue
    return ground, 0.45 + 0.55 * body, 0.4 * accent


def _background(ground: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """(N, size, size, 3): the ground colour with a gradient, under a few ellipses of nearby colours."""
    count = len(ground)
    y, x = _grid(size)
    angle = _uniform(rng, count, 0, 2 * np.pi)[..., 0]
    ramp = (np.cos(angle) * x + np.sin(angle) * y)[..., None]  # (N, size, size, 1)
    image = ground + ramp * _tint(count, 0.15, rng)
    for _ in range(CLUTTER):
        _, _, _, depth = _frame(count, size, rng, tilt=np.pi, reach=1.0, small=0.1, large=0.5)
        edge = _uniform(rng, count, 1.5, 8)[..., 0]  # from blurred to sharp
        image += np.clip(edge * (1 - depth), 0, 1)[..., None] * _tint(count, 0.22, rng)
    return image


def _object(
    labels: np.ndarray, classes: list[Kind], size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two (N, size, size, 1) maps in 0..1: the shares of a pixel in the object's first and second colour."""
    fine = size * SUPERSAMPLING
    u, v, pixel, radius = _frame(len(labels), fine, rng, tilt=TILT, reach=0.22, small=0.5, large=0.8)
    theta = np.arctan2(u, -v)  # clockwise from the top
    outline, level = np.empty_like(radius), np.empty_like(radius)
    for label in np.unique(labels):
        chosen = labels == label
        kind = classes[label]
        outline[chosen] = OUTLINES[kind.outline](theta[chosen])
        level[chosen] = FILLS[kind.fill](u[chosen], v[chosen], radius[chosen] / outline[chosen])
    cover = np.clip((outline - radius) / pixel + 0.5, 0, 1)
    second = cover * np.clip(level / pixel + 0.5, 0, 1)
    return _averaged(cover - second)[..., None], _averaged(second)[..., None]


def _averaged(maps: np.ndarray) -> np.ndarray:
    """(N, k * size, k * size) to (N, size, size): the mean of each k x k square, k = SUPERSAMPLING."""
    offsets = product(range(SUPERSAMPLING), repeat=2)  # strided sums: several times faster than mean()
    return sum(maps[:, y::SUPERSAMPLING, x::SUPERSAMPLING] for y, x in offsets) / SUPERSAMPLING**2


def _frame(
    count: int, size: int, rng: np.random.Generator, tilt: float, reach: float, small: float, large: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Axes of things placed at random, one per image, turned by up to ``tilt`` radians either way.

    The centre lies within ``reach`` of the image's in x and y, the radius from ``small`` to ``large``.
    Returns, in units of that radius, the axes u and v (N, size, size), the side of a pixel (N, 1, 1)
    and the distance from the centre (N, size, size).
    """
    y, x = _grid(size)
    radius, angle, x0, y0, squeeze = (
        _uniform(rng, count, low, high)[..., 0]
        for low, high in ((small, large), (-tilt, tilt), (-reach, reach), (-reach, reach), (0.8, 1.25))
    )
    u = (np.cos(angle) * (x - x0) + np.sin(angle) * (y - y0)) / radius
    v = (np.cos(angle) * (y - y0) - np.sin(angle) * (x - x0)) / (radius * squeeze)
    return u, v, 2 / (size * radius), np.hypot(u, v)


def _light(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """(N, size, size, 1) factors: brightness per image, falling off to one side."""
    y, x = _grid(size)
    slope_x, slope_y, level = (
        _uniform(rng, count, low, high)[..., 0] for low, high in ((-0.2, 0.2), (-0.2, 0.2), (0.75, 1.15))
    )
    return (level * (1 + slope_x * x + slope_y * y))[..., None]


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres in [-1, 1]: y (1, size, 1) and x (1, 1, size)."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    return axis[None, :, None], axis[None, None, :]


def _tint(count: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    return strength * rng.standard_normal((count, 1, 1, 3), np.float32)


def _uniform(rng: np.random.Generator, count: int, low: float, high: float) -> np.ndarray:
    """(N, 1, 1, 1) float32, one draw per image."""
    return (low + (high - low) * rng.random((count, 1, 1, 1), np.float32)).astype(np.float32)
