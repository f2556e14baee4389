"""Problem 2's drawing: BYOL above, the fine-tuning settings below.

Shapes are channels x height x width of one image; a recorded network is as in :mod:`hw1.report.networks`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw1.report.canvas import INK, Axes, save
from hw1.report.drawings import BOX, SMALL, Block, arrow, draw_block, legend, shape, surface
from hw1.report.names import NAMES, START
from hw1.run.parameters.params import ByolTraining, Params

ROW = 0.62  # inches: height of a setting's row


def draw_p2(params: Params, networks: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Both halves as a PNG file; ``networks`` are the recorded ones of the settings."""
    backbone, table = NAMES[params.backbone], ROW * len(params.settings) + 0.45
    figure, axes = surface(6, table + 3.75, f"Problem 2: BYOL pre-training and fine-tuning of {backbone}")
    features = next(iter(networks.values()))["parts"][-1]["input"][0]
    draw_byol(axes, byol_boxes(params, features), params.pretrain.byol, table + 0.25)
    axes.axhline(table + 0.1, color="#9AA5B1", linewidth=0.8)
    axes.text(0, table - 0.2, "Fine-tuning: one recipe for every setting", fontweight="bold", fontsize=9)
    for index, (key, setting) in enumerate(params.settings.items()):
        y = table - 0.45 - ROW * (index + 0.5)
        axes.text(0.1, y, key, ha="center", va="center", fontsize=12, fontweight="bold")
        axes.text(0.68, y, f"weights at first:\n{START[setting.backbone]}", ha="center", va="center", fontsize=8.5)
        _draw_row(axes, setting_boxes(networks[key], backbone), y)
    legend(figure, ("data", "conv", "linear", "loss", "frozen"))
    save(figure, path)


def byol_boxes(params: Params, features: int) -> dict[str, Block]:
    """The boxes by name, for a backbone of ``features`` features; those of the target end in a prime."""
    byol, size, backbone = params.pretrain.byol, params.prepare.mini.crop, NAMES[params.backbone]
    mlp = f"MLP: {{}} →\n{byol.hidden} → {byol.projection}"
    return {
        "image": Block("image", f"{byol.augmentation}\ndrawn twice", "data"),
        "v": Block("view v", "", "data", shape(3, size, size)),
        "f": Block("online f", f"{backbone}\ntrained", "conv", shape(features)),
        "g": Block("online g", mlp.format(features), "linear", shape(byol.projection)),
        "q": Block("predictor q", mlp.format(byol.projection), "linear", "q(z)"),
        "v'": Block("view v'", "", "data", shape(3, size, size)),
        "f'": Block("target f'", f"{backbone}\nno gradient", "frozen", shape(features)),
        "g'": Block("target g'", "MLP as g\nno gradient", "frozen", ""),
        "loss": Block("loss", "2 − 2 cos(q(z), z')\n+ the same with\nviews exchanged", "loss"),
    }


def draw_byol(axes: Axes, boxes: Mapping[str, Block], byol: ByolTraining, bottom: float) -> None:
    """The online network in a row over the target's, from ``bottom`` (inches) up."""
    online, target = bottom + 2.75, bottom + 0.75
    between = (online + target) / 2
    draw_block(axes, 0, between, boxes["image"])
    for y, names in ((online, ("v", "f", "g", "q")), (target, ("v'", "f'", "g'"))):
        for column, name in enumerate(names, start=1):
            draw_block(axes, column, y, boxes[name])
            if name != names[-1]:
                arrow(axes, (column + BOX, y), (column + 1, y), boxes[name].shape)
    draw_block(axes, 5, between, boxes["loss"])
    for y in (online, target):
        arrow(axes, (BOX, between), (1, y))
    arrow(axes, (4 + BOX, online), (5, between + 0.2), "      q(z)")
    _draw_target_output(axes, f"z': {byol.projection}", (3 + BOX, target), (5, between - 0.2))
    _draw_average(axes, byol.ema, online, target)


def _draw_target_output(axes: Axes, label: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """The arrow from the target to the loss, cut in its middle: no gradient goes back along it."""
    arrow(axes, start, end)
    (left, low), (right, high) = start, end
    middle = ((left + right) / 2, (low + high) / 2)
    axes.text(*middle, "//", ha="center", va="center", fontsize=15, fontweight="bold", color=INK)
    axes.text(middle[0], middle[1] + 0.25, "stop-gradient", ha="center", va="center", fontsize=SMALL)
    quarter = (left + (right - left) / 4, low + (high - low) / 4)
    axes.text(quarter[0], quarter[1] + 0.08, label, ha="right", va="bottom", fontsize=SMALL)


def _draw_average(axes: Axes, decay: float, online: float, target: float) -> None:
    """The dashed arrows from f and g down to the target's."""
    between = (online + target) / 2
    for column, name in ((2, "f"), (3, "g")):
        middle = column + BOX / 2
        arrow(axes, (middle, online - 0.5), (middle, target + 0.5), style="--")
        text = f"EMA: {name}' ← m {name}' + (1−m) {name}"
        axes.text(middle, between, text, ha="center", va="center", fontsize=SMALL, backgroundcolor="white")
    said = f"m from {decay:g} to 1"
    axes.text(2.5 + BOX / 2, between - 0.25, said, ha="center", va="center", fontsize=SMALL)


def setting_boxes(network: Mapping[str, Any], backbone: str) -> list[Block]:
    """A setting's network from image to loss; the backbone is frozen if none of it is trained."""
    *body, classifier = network["parts"]
    frozen = not any(block.get("trained") for part in body for block in part.get("blocks", [part]))
    words, kind = ("frozen", "frozen") if frozen else ("trained", "conv")
    features, classes = classifier["input"][0], classifier["output"][0]
    return [
        Block("image", "", "data", shape(*network["input"])),
        Block(backbone, words, kind, shape(features)),
        Block("linear", f"{features:,} → {classes}", "linear", shape(classes)),
        Block("loss", "cross entropy", "loss"),
    ]


def _draw_row(axes: Axes, boxes: list[Block], y: float) -> None:
    for index, block in enumerate(boxes):
        left = 1.4 + 1.2 * index
        draw_block(axes, left, y, block, ROW - 0.12)
        if block is not boxes[-1]:
            arrow(axes, (left + BOX, y), (left + 1.2, y), block.shape)
