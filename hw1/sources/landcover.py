"""Drawn land-cover tiles with their masks: P3 of the embedded data set.

A tile is a patch of land seen from above. Smooth random fields divide it among a few classes in large
regions, since FCN32s sees a tile only at every 32nd pixel; farmland and towns end at straight parcel
borders, the rest at natural ones, and a river or a lake may lie across. Each class has its texture;
its colours, the light and the haze vary per tile, so that colour alone does not tell the classes.

All lengths are shares of the tile's side: another size shows the same land in other detail.
"""

import numpy as np
from PIL import Image

URBAN, AGRICULTURE, RANGELAND, FOREST, WATER, BARREN, UNKNOWN = range(7)

LAND = (URBAN, AGRICULTURE, RANGELAND, FOREST, BARREN)
LAND_SHARE = (0.19, 0.25, 0.18, 0.21, 0.17)  # chance of each to be drawn first
PARCEL_GRID = (10, 5)  # rows and columns of fields
PARCELS = 50
SUPERSAMPLING = 2  # drawn at twice the size and averaged, which smooths roofs, hedges and shores


def draw_tile(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A tile's picture, (size, size, 3) uint8 RGB, and its class codes 0..6, (size, size) uint8."""
    fine = size * SUPERSAMPLING
    parcel, hedge = _parcels(fine, rng)
    codes = _layout(parcel, rng)
    picture = _photograph(_surface(codes, parcel, hedge, rng), rng)
    missing = _missing(fine, rng)
    codes[missing], picture[missing] = UNKNOWN, 0
    picture = picture.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean((1, 3))
    picture += 0.012 * rng.standard_normal(picture.shape, np.float32)  # sensor noise
    return (picture.clip(0, 1) * 255).round().astype(np.uint8), codes[::SUPERSAMPLING, ::SUPERSAMPLING]


def _layout(parcel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, S) uint8 codes of two to four classes: the one whose random field is highest, and water."""
    size = len(parcel)
    present = rng.choice(LAND, size=rng.choice((1, 2, 3), p=(0.1, 0.5, 0.4)), replace=False, p=LAND_SHARE)
    fields = []
    for code in present:
        height = _field(size, 2, rng) + 0.12 * _field(size, 10, rng)
        if code in (URBAN, AGRICULTURE):  # whole parcels, each with the mean height over its area
            height = (np.bincount(parcel.ravel(), height.ravel()) / np.bincount(parcel.ravel()).clip(1))[parcel]
        fields.append(height)
    codes = present.astype(np.uint8)[np.argmax(fields, axis=0)]
    codes[_water(size, rng)] = WATER
    return codes


def _water(size: int, rng: np.random.Generator) -> np.ndarray:
    """(S, S) bool: a river, a lake or the sea, or no water at all."""
    form = rng.choice(("none", "river", "lake", "sea"), p=(0.42, 0.2, 0.22, 0.16))
    if form == "none":
        return np.zeros((size, size), bool)
    y, x = _turned_grid(size, rng)
    ragged = 0.03 * _field(size, 6, rng) + 0.008 * _field(size, 24, rng)
    if form == "sea":
        return x + ragged + 0.07 * _field(size, 2, rng) > rng.uniform(0.05, 0.35)
    if form == "lake":
        distance = np.hypot(x - rng.uniform(-0.3, 0.3), (y - rng.uniform(-0.3, 0.3)) * rng.uniform(0.7, 1.4))
        return distance + 1.5 * ragged < rng.uniform(0.22, 0.36)
    bends, phase = rng.uniform(4, 8, 2), rng.uniform(0, 2 * np.pi, 2)
    course = 0.13 * np.sin(bends[0] * y + phase[0]) + 0.05 * np.sin(2 * bends[1] * y + phase[1])
    slope = np.gradient(course, 1 / size, axis=0)
    width = rng.uniform(0.05, 0.1) * (1 + 0.3 * np.sin(5 * y + phase[1]))
    return np.abs(x - rng.uniform(-0.2, 0.2) - course) < (width + 0.3 * ragged) * np.hypot(1, slope).clip(1, 1.6)


def _missing(size: int, rng: np.random.Generator) -> np.ndarray:
    """(S, S) bool: in one tile of eight the sensor's swath ends in a black corner or strip."""
    if rng.random() > 0.125:
        return np.zeros((size, size), bool)
    _, x = _turned_grid(size, rng)
    return x > np.quantile(x, rng.uniform(0.9, 0.97))


def _surface(codes: np.ndarray, parcel: np.ndarray, hedge: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) the ground's own colour, class by class."""
    size = len(codes)
    surface = np.empty((size, size, 3), np.float32)
    textures = {
        URBAN: lambda: _urban(size, rng),
        AGRICULTURE: lambda: _agriculture(parcel, hedge, rng),
        RANGELAND: lambda: _rangeland(size, rng),
        FOREST: lambda: _forest(size, rng),
        WATER: lambda: _lake_bed(size, rng),
        BARREN: lambda: _barren(size, rng),
    }
    for code, texture in textures.items():
        region = codes == code
        if region.any():
            surface[region] = texture()[region]
    return surface


def _urban(size: int, rng: np.random.Generator) -> np.ndarray:
    """Blocks of houses with roofs of many colours, their shadows and trees, between grey streets."""
    y, x = _turned_grid(size, rng)
    block, house = rng.uniform(0.15, 0.2), rng.uniform(0.042, 0.055)
    street = np.minimum(_to_line(x, block), _to_line(y, block * 1.4)) < 0.011
    column, row = np.floor(x / house).astype(int), np.floor(y / house).astype(int)  # negative ones wrap below
    lots = (64, 64)
    tones = np.array([(0.62, 0.36, 0.28), (0.78, 0.74, 0.7), (0.5, 0.5, 0.53), (0.88, 0.87, 0.85), (0.45, 0.33, 0.28)])
    roof = (tones[rng.integers(len(tones), size=lots)] * rng.uniform(0.8, 1.1, (*lots, 1)))[row, column]
    half = rng.uniform(0.3, 0.44, lots)[row, column]  # of the lot, from its centre to the wall
    wall = np.maximum(np.abs(x / house - column - 0.5), np.abs(y / house - row - 0.5))
    shade = np.maximum(np.abs(x / house - column - 0.62), np.abs(y / house - row - 0.62))
    ridge = np.where(x / house - column > 0.5, 0.88, 1.06)[..., None]
    empty = (rng.random(lots) < 0.12)[row, column]
    yard = _mixed((0.36, 0.38, 0.3), (0.52, 0.5, 0.45), _field(size, 30, rng))
    picture = np.where(((shade < half) & ~empty)[..., None], 0.5 * yard, yard)
    picture = np.where(((wall < half) & ~empty)[..., None], roof * ridge, picture)
    return np.where(street[..., None], np.float32(rng.uniform(0.42, 0.6)), picture)


def _agriculture(parcel: np.ndarray, hedge: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Parcels of crops and ploughed soil, each with its furrows' direction and width, between hedges."""
    size = len(parcel)
    crops = np.array([(0.42, 0.55, 0.24), (0.56, 0.6, 0.3), (0.72, 0.65, 0.38), (0.58, 0.46, 0.32), (0.3, 0.45, 0.22)])
    colour = crops[rng.choice(len(crops), PARCELS)] * rng.uniform(0.85, 1.15, (PARCELS, 1))
    common = rng.uniform(0, np.pi)  # neighbours plough along or across the same direction
    angle = common + np.pi / 2 * rng.integers(2, size=PARCELS) + rng.normal(0, 0.12, PARCELS)
    period = rng.uniform(0.022, 0.045, PARCELS)
    depth = rng.uniform(0.06, 0.2, PARCELS)
    y, x = _grid(size)
    along = np.cos(angle)[parcel] * x + np.sin(angle)[parcel] * y
    furrows = 1 + depth[parcel] * np.sin(2 * np.pi * along / period[parcel])
    picture = colour[parcel] * (furrows + 0.05 * _field(size, 12, rng))[..., None]
    return np.where((hedge < 0.007)[..., None], np.array((0.24, 0.3, 0.16)), picture)


def _rangeland(size: int, rng: np.random.Generator) -> np.ndarray:
    """Mottled olive and brown grass with single dark shrubs."""
    mottle = _field(size, 8, rng) + 0.7 * _field(size, 22, rng)
    grass = _mixed((0.44, 0.4, 0.25), (0.62, 0.57, 0.38), 0.7 * mottle)
    shrubs = _field(size, 50, rng) + 0.5 * _field(size, 6, rng) > 1.9
    return np.where(shrubs[..., None], np.array((0.24, 0.27, 0.16)), grass)


def _forest(size: int, rng: np.random.Generator) -> np.ndarray:
    """Dark green crowns, lit from the north-west."""
    crowns = _field(size, 48, rng) + 0.6 * _field(size, 14, rng)
    return _mixed((0.1, 0.2, 0.1), (0.26, 0.39, 0.18), 0.6 * crowns) * _relief(crowns, 0.008)


def _lake_bed(size: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth dark water, from blue to the greenish blue of shallows."""
    return _mixed((0.07, 0.17, 0.3), (0.16, 0.32, 0.4), _field(size, 3, rng) + rng.normal())


def _barren(size: int, rng: np.random.Generator) -> np.ndarray:
    """Bright sand and rock: wind ripples, weathered relief and a fine grain."""
    relief = _field(size, 6, rng) + 0.3 * _field(size, 20, rng)
    _, x = _turned_grid(size, rng)
    ripples = 0.03 * np.sin(2 * np.pi * (x + 0.03 * relief) / rng.uniform(0.05, 0.08))
    grain = 0.05 * rng.standard_normal((size, size), np.float32)
    light = _relief(relief, 0.025) + (ripples + grain)[..., None]
    return _mixed((0.66, 0.56, 0.44), (0.84, 0.77, 0.65), relief) * light


def _photograph(surface: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The ground as the camera saw it that day: clouds' shade, exposure, white balance, haze."""
    light = 1 + 0.07 * _field(len(surface), 2, rng)
    seen = surface * light[..., None] * rng.uniform(0.8, 1.2) * rng.normal(1, 0.05, 3)
    haze = rng.uniform(0, 0.15)
    return ((1 - haze) * seen + haze * np.array((0.75, 0.79, 0.85))).astype(np.float32)


def _parcels(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Voronoi parcels: the index of each pixel's, (S, S) int64, and the distance to its border."""
    y, x = (axis.ravel() for axis in _turned_grid(size, rng))
    rows, columns = PARCEL_GRID
    # A jittered grid that covers the tile at any angle, its cells twice as long as high.
    seed_y, seed_x = np.meshgrid(np.linspace(-0.7, 0.7, rows), np.linspace(-0.7, 0.7, columns), indexing="ij")
    seeds = np.stack([seed_y.ravel(), seed_x.ravel()], axis=1) + rng.uniform(-1, 1, (PARCELS, 2)) * (0.055, 0.11)
    seeds = seeds.astype(np.float32)
    # Squared distances |p - s|^2, less the |p|^2 that is the same for every seed: one product.
    points = np.stack([y, x, np.ones_like(x)], axis=1)
    distance = points @ np.column_stack([-2 * seeds, (seeds**2).sum(1)]).T  # (S * S, PARCELS)
    pixel = np.arange(len(distance))
    first = distance.argmin(1)
    nearest = distance[pixel, first]
    distance[pixel, first] = np.inf
    second = distance.argmin(1)
    apart = np.linalg.norm(seeds[second] - seeds[first], axis=1)
    border = (distance[pixel, second] - nearest) / (2 * apart)
    return first.reshape(size, size), border.reshape(size, size)


def _field(size: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """(S, S) float32 smooth noise, mean 0 and standard deviation 1, about ``cells`` bumps along a side."""
    knots = rng.standard_normal((cells + 3, cells + 3), np.float32)
    left, top = rng.random(2)
    box = (left + 0.5, top + 0.5, left + 0.5 + cells, top + 0.5 + cells)
    field = np.asarray(Image.fromarray(knots).resize((size, size), Image.Resampling.BICUBIC, box=box))
    return (field - field.mean()) / field.std()


def _mixed(low: tuple[float, ...], high: tuple[float, ...], field: np.ndarray) -> np.ndarray:
    """(S, S, 3) colours from ``low`` to ``high`` as the field goes from -1.5 to 1.5."""
    share = np.clip(field / 3 + 0.5, 0, 1)[..., None]
    return np.array(low) + share * (np.array(high) - np.array(low))


def _relief(height: np.ndarray, strength: float) -> np.ndarray:
    """(S, S, 1) brightness of a slope under light from the north-west; ``height`` in tile sides."""
    down, right = np.gradient(height * strength, 1 / len(height))
    return np.clip(1 + 0.7 * (down + right), 0.5, 1.5)[..., None]


def _to_line(x: np.ndarray, period: float) -> np.ndarray:
    """Distance to the nearest of the lines x = 0, +-period, ..."""
    return np.abs((x + period / 2) % period - period / 2)


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """y (S, 1) and x (1, S) of the pixel centres, in tile sides from the centre."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    return axis[:, None], axis[None, :]


def _turned_grid(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """y and x, (S, S) each, along axes turned by a random angle."""
    y, x = _grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    return np.cos(angle) * y - np.sin(angle) * x, np.cos(angle) * x + np.sin(angle) * y
