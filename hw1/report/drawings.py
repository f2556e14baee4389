"""The means of a block diagram: boxes in rows from left to right, tensor shapes on the arrows between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw1.report.canvas import INK, Axes, Figure, box, save, swatches

FACES = {
    "data": "#F5F7FA",
    "conv": "#CFE3F3",
    "linear": "#CDEBDD",
    "resize": "#FBE3BF",
    "loss": "#F2D9E6",
    "frozen": "#E4E7EB",
}
MEANING = {
    "data": "image, mask or scores",
    "conv": "convolutions",
    "linear": "fully connected",
    "resize": "resize or pool",
    "loss": "loss",
    "frozen": "frozen (dashed)",
}
BOX = 0.57  # share of a column's width that the box takes; the rest is for the arrow and its shape
INCHES = 1.9  # width of a column
HEIGHT, BRANCH = 0.98, 0.36  # inches: height of a box, of one of several parallel boxes
SMALL = 7.5  # points


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
        if index + 1 < len(rows):
            entry = top - height - heights[index + 1] / 2 + _half_height(rows[index + 1][0])
            _turn(axes, (len(row) - 1 + BOX / 2, middle), top - height, entry, row[-1].shape)
        top -= height
    kinds = [kind for kind in FACES if any(block.kind == kind for block in blocks)]
    legend(figure, kinds)
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
    handles = swatches([FACES[kind] for kind in kinds], [MEANING[kind] for kind in kinds])
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)


def draw_block(axes: Axes, left: float, middle: float, block: Block, height: float = HEIGHT) -> None:
    """Put a block's box, or its branches' boxes, at column ``left`` with its middle at ``middle``."""
    names = block.branches or (block.title,)
    each = BRANCH if block.branches else height
    bottom = middle + len(names) * (each + 0.05) / 2 - each - 0.025
    for name in names:
        box(axes, left, bottom, BOX, each, FACES[block.kind], dashed=block.kind == "frozen")
        if block.branches:
            axes.text(left + BOX / 2, bottom + each / 2, name, ha="center", va="center", fontsize=SMALL)
        bottom -= each + 0.05
    if block.branches:
        axes.text(left + BOX / 2, bottom + each, block.title, ha="center", va="top", fontsize=SMALL)
    else:
        lines = block.detail.count("\n") + 1 if block.detail else 0
        head = middle + 0.068 * lines
        axes.text(left + BOX / 2, head, block.title, ha="center", va="center", fontweight="bold", fontsize=8.5)
        below = (left + BOX / 2, head - 0.1)
        axes.text(*below, block.detail, ha="center", va="top", fontsize=SMALL, linespacing=1.25)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], label: str = "", style: str = "-") -> None:
    """An arrow with ``label`` above its middle."""
    line = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.1, "linestyle": style, "shrinkA": 1, "shrinkB": 1}
    axes.annotate("", end, start, arrowprops=line)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.05)
    axes.text(*middle, label, ha="center", va="bottom", fontsize=SMALL)


def _half_height(block: Block) -> float:
    return (BRANCH + 0.05) * len(block.branches) / 2 if block.branches else HEIGHT / 2


def _turn(axes: Axes, start: tuple[float, float], between: float, entry: float, label: str) -> None:
    """The arrow from a row's last box down to the height ``between``, back, and onto the next row's first box."""
    first = BOX / 2
    path = [(start[0], start[1] - HEIGHT / 2), (start[0], between), (first, between)]
    axes.plot(*zip(*path, strict=True), color=INK, linewidth=1.1)
    arrow(axes, (first, between + 0.02), (first, entry))
    axes.text((start[0] + first) / 2, between + 0.05, label, ha="center", va="bottom", fontsize=SMALL)
