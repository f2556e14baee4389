"""The one place that imports matplotlib: style, colours, panels, block diagrams and saving.

Pictures are PNG files of the same bytes for the same input (fixed style, no software stamp).
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
DISTINCT = len(COLOURS) * len(MARKERS)  # series that colour and marker together tell apart
GREY = "#8A8F98"
INK = "#1F2933"
ABSENT = "#D9DDE3"
BLUES = colormaps["Blues"].with_extremes(bad=ABSENT)

# Kinds of blocks in a diagram: face and meaning.
KINDS = {
    "data": ("#F5F7FA", "image, mask or scores"),
    "conv": ("#CFE3F3", "convolutions"),
    "linear": ("#CDEBDD", "fully connected"),
    "resize": ("#FBE3BF", "resize or pool"),
    "loss": ("#F2D9E6", "loss"),
    "frozen": ("#E4E7EB", "frozen (dashed)"),
}
BOX = 0.57  # share of a column's width that the box takes; the rest is for the arrow and its shape
INCHES = 1.9  # width of a column
HEIGHT, BRANCH = 0.98, 0.36  # inches: height of a box, of one of several parallel boxes
SMALL = 7.5  # points
CENTRED = {"ha": "center", "va": "center"}

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


def swatches(colours: Sequence, names: Sequence[str]) -> list[Patch]:
    """Legend entries: a filled square per name; thin edge, so that white can be seen."""
    return [
        Patch(facecolor=face, edgecolor="#52606D", linewidth=0.8, label=name)
        for face, name in zip(colours, names, strict=True)
    ]


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


# -- block diagrams: boxes in rows from left to right, tensor shapes on the arrows between them


@dataclass(frozen=True)
class Block:
    """One box: a bold title, a few short lines, and the shape of what leaves it (channels first).

    ``branches`` are the titles of parallel boxes that take the place of the one box.
    """

    title: str
    detail: str = ""
    kind: str = "conv"
    shape: str = ""
    branches: tuple[str, ...] = ()


def shape(*sizes: int) -> str:
    """The sizes of a tensor as text: 3×32×232, or 29,696 for a vector."""
    return "×".join(map(str, sizes)) if len(sizes) > 1 else f"{sizes[0]:,}"


def draw_network(title: str, blocks: Sequence[Block], columns: int, path: Path) -> None:
    """Draw ``blocks`` in reading order, ``columns`` to a row."""
    rows = [blocks[start : start + columns] for start in range(0, len(blocks), columns)]
    heights = [2.6 if any(block.branches for block in row) else 1.45 for row in rows]
    figure, axes = surface(columns, sum(heights), title)
    top = sum(heights)
    for index, (row, height) in enumerate(zip(rows, heights, strict=True)):
        middle = top - height / 2
        for column, block in enumerate(row):
            draw_block(axes, column, middle, block)
            if column + 1 < len(row):
                arrow(axes, (column + BOX, middle), (column + 1, middle), block.shape)
        top -= height
        if index + 1 < len(rows):
            branches = rows[index + 1][0].branches
            half = (BRANCH + 0.05) * len(branches) / 2 if branches else HEIGHT / 2
            last, first, below = len(row) - 1 + BOX / 2, BOX / 2, top - heights[index + 1] / 2 + half
            # From the row's last box down, back, and onto the next row's first box.
            axes.plot([last, last, first], [middle - HEIGHT / 2, top, top], color=INK, linewidth=1.1)
            arrow(axes, (first, top + 0.02), (first, below))
            axes.text((last + first) / 2, top + 0.05, row[-1].shape, ha="center", va="bottom", fontsize=SMALL)
    legend(figure, [kind for kind in KINDS if any(block.kind == kind for block in blocks)])
    save(figure, path)


def surface(columns: float, height: float, title: str) -> tuple[Figure, Axes]:
    """Bare axes of ``columns`` column widths by ``height`` inches; y counts inches from the bottom."""
    figure = Figure(figsize=(INCHES * columns, height + 0.75), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(-0.04, columns - 1 + BOX + 0.04), ylim=(0, height))
    return figure, axes


def legend(figure: Figure, kinds: Sequence[str]) -> None:
    handles = swatches(*zip(*(KINDS[kind] for kind in kinds), strict=True))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)


def draw_block(axes: Axes, left: float, middle: float, block: Block, height: float = HEIGHT) -> None:
    """Put a block's rounded box, or its branches' boxes, at column ``left`` with its middle at ``middle``."""
    centre, names = left + BOX / 2, block.branches or (block.title,)
    each = BRANCH if block.branches else height
    bottom = middle + len(names) * (each + 0.05) / 2 - each - 0.025
    style = {"boxstyle": "round,pad=0,rounding_size=0.05", "edgecolor": "#52606D", "linewidth": 1}
    style["linestyle"] = (0, (3, 2)) if block.kind == "frozen" else "-"
    for name in names:
        axes.add_patch(FancyBboxPatch((left, bottom), BOX, each, facecolor=KINDS[block.kind][0], **style))
        if block.branches:
            axes.text(centre, bottom + each / 2, name, fontsize=SMALL, **CENTRED)
        bottom -= each + 0.05
    if block.branches:
        axes.text(centre, bottom + each, block.title, ha="center", va="top", fontsize=SMALL)
    else:
        lines = block.detail.count("\n") + 1 if block.detail else 0
        head = middle + 0.068 * lines
        axes.text(centre, head, block.title, fontweight="bold", fontsize=8.5, **CENTRED)
        axes.text(centre, head - 0.1, block.detail, ha="center", va="top", fontsize=SMALL, linespacing=1.25)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], label: str = "", style: str = "-") -> None:
    """An arrow with ``label`` above its middle."""
    line = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.1, "linestyle": style, "shrinkA": 1, "shrinkB": 1}
    axes.annotate("", end, start, arrowprops=line)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.05)
    axes.text(*middle, label, ha="center", va="bottom", fontsize=SMALL)
