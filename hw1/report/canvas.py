"""The one place that imports matplotlib: style, colours, panels and saving.

Pictures are PNG files of the same bytes for the same input (fixed style, no software stamp).
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch
from PIL import Image

DPI = 140

# Okabe and Ito's palette without its yellow, which vanishes on white; distinct for all common colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
MARKERS = ("o", "^", "s", "D")
GREY = "#8A8F98"
INK = "#1F2933"

matplotlib.rcParams.update(
    {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": "#9AA5B1",
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": "#E4E7EB",
        "grid.linewidth": 0.8,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "legend.handlelength": 3,
        "lines.linewidth": 1.8,
        "lines.markersize": 4,
        "figure.titlesize": 11.5,
        "figure.titleweight": "bold",
    }
)


def grid(rows: int, columns: int, size: tuple[float, float], title: str = "") -> tuple[Figure, list[Axes]]:
    """A figure of rows x columns panels, ``size`` in inches, and its axes row by row."""
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    if title:
        figure.suptitle(title)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """The marker shape of series ``index``: a new one each time the colours start again."""
    return MARKERS[index // len(COLOURS) % len(MARKERS)]


def distinct_series() -> int:
    """How many series colour and marker together tell apart."""
    return len(COLOURS) * len(MARKERS)


def colour_map(name: str, bad: str = "#D9DDE3"):
    """The named colour map with ``bad`` for absent values."""
    return colormaps[name].with_extremes(bad=bad)


def swatches(colours: Sequence, names: Sequence[str]) -> list[Patch]:
    """Legend entries: a filled square per name; thin edge, so that white can be seen."""
    return [
        Patch(facecolor=face, edgecolor="#52606D", linewidth=0.8, label=name)
        for face, name in zip(colours, names, strict=True)
    ]


def box(axes: Axes, left: float, bottom: float, width: float, height: float, face: str, dashed: bool) -> None:
    """A rounded box in data coordinates; dashed edges mean frozen weights."""
    style = {"linestyle": (0, (3, 2)) if dashed else "-", "edgecolor": "#52606D", "linewidth": 1}
    shape = "round,pad=0,rounding_size=0.05"
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, boxstyle=shape, facecolor=face, **style))


def blank(axes: Axes, text: str = "") -> None:
    """Make a panel a plain surface, with ``text`` in its middle."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#52606D")


def save(figure: Figure, path: Path, palette: bool = True) -> None:
    """Write the figure as PNG; ``palette`` keeps 256 colours, which saves most bytes: not for photographs."""
    figure.set_dpi(DPI)
    figure.set_facecolor("white")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # savefig would lay out once more, and compress a PNG that nobody keeps
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    if palette:
        picture = picture.quantize(256, dither=Image.Dither.NONE)
    picture.save(path, format="PNG", optimize=True)
