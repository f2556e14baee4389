"""The drawings the report asks for, computed from the parameters in use: sizes, channels, heads, freezing.

Shapes are channels x height x width of one image.
"""

from pathlib import Path

from hw1.report.canvas import INK, Axes, save
from hw1.report.drawings import BOX, SMALL, Block, arrow, draw_block, draw_network, legend, shape, surface
from hw1.report.names import NAMES, START
from hw1.run.params import ConvNeXt, Params, Segmenter, SmallCnn

# Blocks and channels of the four stages (Liu et al. 2022, arXiv:2201.03545; atto: Woo et al. 2023, arXiv:2301.00808).
CONVNEXT = {
    "convnext_atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "convnext_tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext_small": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "convnext_base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "convnext_large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
}
FEATURES = {"resnet18": 512, "resnet34": 512, "resnet50": 2048}


def draw_networks(params: Params, p1_classes: int, p2_classes: int, folder: Path) -> None:
    """The five drawings, as PNG files in ``folder``."""
    small, convnext = params.classify.A, params.classify.B
    title = f"Problem 1, model A: small CNN, head as {small.head}"
    draw_network(title, small_cnn_blocks(small, params.prepare.p1.size, p1_classes), 5, folder / "p1_network_a.png")
    title = f"Problem 1, model B: {NAMES[convnext.network]}, {_origin(convnext)}"
    draw_network(title, convnext_blocks(convnext, p1_classes), 5, folder / "p1_network_b.png")
    draw_p2(params, p2_classes, folder / "p2_networks.png")
    for key, model in vars(params.segment).items():
        share = "" if model.width == 1 else f", width × {model.width:g}"
        title = f"Problem 3, model {key}: {NAMES[model.network]}{share}, {_origin(model)}"
        blocks = segmenter_blocks(model, params.prepare.p3.size)
        draw_network(title, blocks, 6, folder / f"p3_network_{key.lower()}.png")


def _origin(model: ConvNeXt | Segmenter) -> str:
    return "ImageNet weights" if model.weights == "imagenet" else "random weights"


def small_cnn_blocks(model: SmallCnn, size: int, classes: int) -> list[Block]:
    """The small CNN with the head in use, fed images of ``size`` pixels."""
    height, width = model.height, model.width
    flat = 64 * (height // 4) * (width // 4)
    blocks = [Block("image", "", "data", shape(3, size, size))]
    if (height, width) != (size, size):
        blocks.append(Block("stretch", f"nearest, to\n{height} × {width}", "resize", shape(3, height, width)))
    blocks += [
        Block("conv 1", "3×3, pad 1\n3 → 32, ReLU", "conv", shape(32, height, width)),
        Block("max pool", "2×2", "resize", shape(32, height // 2, width // 2)),
        Block("conv 2", "3×3, pad 1\n32 → 64, ReLU", "conv", shape(64, height // 2, width // 2)),
        Block("max pool", "2×2", "resize", shape(64, height // 4, width // 4)),
        Block("flatten", "the features\nof PCA and t-SNE" if model.head == "printed" else "", "resize", shape(flat)),
    ]
    if model.head == "printed":
        outputs = max(model.hidden, classes)
        blocks += [
            Block("fc 1", f"{flat:,} → {outputs}\nas printed: the end", "linear", shape(outputs)),
            Block("scores", f"{outputs} outputs for\n{classes} classes", "data"),
        ]
    else:
        blocks += [
            Block("fc 1", f"{flat:,} → {model.hidden}\nReLU", "linear", shape(model.hidden)),
            Block("dropout", f"{model.dropout:g}; the features\nof PCA and t-SNE", "linear", shape(model.hidden)),
            Block("fc 2", f"{model.hidden} → {classes}", "linear", shape(classes)),
            Block("scores", f"{classes} classes", "data"),
        ]
    return blocks


def convnext_blocks(model: ConvNeXt, classes: int) -> list[Block]:
    """The ConvNeXt with the report's classifier; frozen stages are grey and dashed."""
    depths, channels = CONVNEXT[model.network]
    side = model.crop // 4
    blocks = [Block("image", f"resized to {model.resize},\ncropped", "data", shape(3, model.crop, model.crop))]
    blocks.append(_convnext_part(model, 0, "stem", "conv 4×4, stride 4", shape(channels[0], side, side)))
    for stage, (depth, width) in enumerate(zip(depths, channels, strict=True)):
        if stage:
            side //= 2
        what = f"{'halve, ' if stage else ''}{depth} blocks"
        out = shape(width, side, side)
        blocks.append(_convnext_part(model, 2 * stage + 1, f"stage {stage + 1}", what, out, depth))
    blocks += [
        Block("average pool", "over height, width", "resize", shape(channels[-1])),
        Block("linear", f"{channels[-1]:,} → {model.hidden}\nReLU", "linear", shape(model.hidden)),
        Block("linear", f"{model.hidden} → {classes}", "linear", shape(classes)),
        Block("scores", f"{classes} classes", "data"),
    ]
    return blocks


def _convnext_part(model: ConvNeXt, index: int, title: str, what: str, out: str, depth: int = 0) -> Block:
    """One stage (torchvision's ``features.<index>``) with what of it is trained under the freezing rule."""
    single = [block for block in (7, 17) if index == 5 and block < depth]
    if model.trainable == "all" or index == 7:
        return Block(title, f"{what}\ntrained", "conv", out)
    if model.trainable == "printed" and single:
        return Block(title, f"{what}\nfrozen but for\nblocks {' and '.join(map(str, single))}", "frozen", out)
    return Block(title, f"{what}\nfrozen", "frozen", out)


def draw_p2(params: Params, classes: int, path: Path) -> None:
    """BYOL above, the fine-tuning settings below."""
    row = 0.62
    table = row * len(params.settings) + 0.45
    figure, axes = surface(6, table + 3.75, f"Problem 2: BYOL pre-training and fine-tuning of {NAMES[params.backbone]}")
    _draw_byol(axes, params, table + 0.25)
    axes.axhline(table + 0.1, color="#9AA5B1", linewidth=0.8)
    axes.text(0, table - 0.2, "Fine-tuning: one recipe for every setting", fontweight="bold", fontsize=9)
    for index, key in enumerate(params.settings):
        _draw_setting(axes, params, key, classes, table - 0.45 - row * (index + 0.5), row - 0.12)
    legend(figure, ("data", "conv", "linear", "loss", "frozen"))
    save(figure, path)


def _draw_byol(axes: Axes, params: Params, bottom: float) -> None:
    byol, size, features = params.pretrain.byol, params.prepare.mini.size, FEATURES[params.backbone]
    online, target = bottom + 2.75, bottom + 0.75
    between = (online + target) / 2
    mlp = f"MLP: {{}} →\n{byol.hidden} → {byol.projection}"
    draw_block(axes, 0, between, Block("image", f"{byol.augmentation}\ndrawn twice", "data"))
    boxes = {
        (1, online): Block("view v", "", "data", shape(3, size, size)),
        (2, online): Block("online f", f"{NAMES[params.backbone]}\ntrained", "conv", shape(features)),
        (3, online): Block("online g", mlp.format(features), "linear", shape(byol.projection)),
        (4, online): Block("predictor q", mlp.format(byol.projection), "linear", "q(z)"),
        (1, target): Block("view v'", "", "data", shape(3, size, size)),
        (2, target): Block("target f'", f"{NAMES[params.backbone]}\nno gradient", "frozen", shape(features)),
        (3, target): Block("target g'", "MLP as g\nno gradient", "frozen", ""),
    }
    for (column, y), block in boxes.items():
        draw_block(axes, column, y, block)
        if column in (1, 2) or (column == 3 and y == online):
            arrow(axes, (column + BOX, y), (column + 1, y), block.shape)
    draw_block(axes, 5, between, Block("loss", "2 − 2 cos(q(z), z')\n+ the same with\nviews exchanged", "loss"))
    for y in (online, target):
        arrow(axes, (BOX, between), (1, y))
    arrow(axes, (4 + BOX, online), (5, between + 0.2), "      q(z)")
    arrow(axes, (3 + BOX, target), (5, between - 0.2))
    cut = ((3 + BOX + 5) / 2, (target + between - 0.2) / 2)
    axes.text(*cut, "//", ha="center", va="center", fontsize=15, fontweight="bold", color=INK)
    axes.text(cut[0], cut[1] + 0.25, "stop-gradient", ha="center", va="center", fontsize=SMALL)
    axes.text(cut[0] + 0.1, target, f"z': {byol.projection}", ha="center", va="center", fontsize=SMALL)
    for column, name in ((2, "f"), (3, "g")):
        arrow(axes, (column + BOX / 2, online - 0.5), (column + BOX / 2, target + 0.5), style="--")
        text = f"EMA: {name}' ← m {name}' + (1−m) {name}"
        axes.text(column + BOX / 2, between, text, ha="center", va="center", fontsize=SMALL, backgroundcolor="white")
    decay = f"m from {byol.ema:g} to 1"
    axes.text(2.5 + BOX / 2, between - 0.25, decay, ha="center", va="center", fontsize=SMALL)


def _draw_setting(axes: Axes, params: Params, key: str, classes: int, y: float, height: float) -> None:
    setting, features = params.settings[key], FEATURES[params.backbone]
    crop = params.prepare.office.crop
    frozen = setting.train == "classifier"
    axes.text(0.1, y, key, ha="center", va="center", fontsize=12, fontweight="bold")
    blocks = (
        Block("image", "", "data", shape(3, crop, crop)),
        Block(
            NAMES[params.backbone], "frozen" if frozen else "trained", "frozen" if frozen else "conv", shape(features)
        ),
        Block("linear", f"{features:,} → {classes}", "linear", shape(classes)),
        Block("loss", "cross entropy", "loss"),
    )
    axes.text(0.68, y, f"weights at first:\n{START[setting.backbone]}", ha="center", va="center", fontsize=8.5)
    for index, block in enumerate(blocks):
        left = 1.4 + 1.2 * index
        draw_block(axes, left, y, block, height)
        if index + 1 < len(blocks):
            arrow(axes, (left + BOX, y), (left + 1.2, y), block.shape)


def segmenter_blocks(model: Segmenter, size: int) -> list[Block]:
    """FCN32s or DeepLabv3 at the width in use, fed tiles of ``size`` pixels."""
    return _fcn32s(model, size) if model.network == "fcn32s_vgg16" else _deeplabv3(model, size)


def _fcn32s(model: Segmenter, size: int) -> list[Block]:
    padded = -(-size // 32) * 32
    hidden = round(4096 * model.width)
    blocks = [Block("image", "", "data", shape(3, size, size))]
    if padded != size:
        blocks = [Block("image", f"padded from {size}\nto a multiple of 32", "data", shape(3, padded, padded))]
    side = padded
    for index, (convolutions, channels) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), start=1):
        side //= 2
        out = shape(round(channels * model.width), side, side)
        blocks.append(Block(f"VGG stage {index}", f"{convolutions} × conv 3×3\nmax pool 2×2", "conv", out))
    blocks += [
        Block("fc 6", "conv 7×7, ReLU\ndropout 0.5", "conv", shape(hidden, side, side)),
        Block("fc 7", "conv 1×1, ReLU\ndropout 0.5", "conv", shape(hidden, side, side)),
        Block("score", "conv 1×1\nto 7 classes", "conv", shape(7, side, side)),
        Block("upsample 32×", "transposed conv\n64×64, stride 32\nbilinear at first", "resize", shape(7, size, size)),
        Block("mask", "largest score\nof each pixel", "data"),
    ]
    return blocks


def _deeplabv3(model: Segmenter, size: int) -> list[Block]:
    depths = [max(1, round(blocks * model.width)) for blocks in (3, 4, 6, 3)]
    inner = [round(64 * model.width) * 2**stage for stage in range(4)]
    outer = [64 * max(1, round(4 * model.width)) * 2**stage for stage in range(4)]
    half, quarter, eighth = (-(-size // step) for step in (2, 4, 8))
    sides = (quarter, eighth, eighth, eighth)
    notes = ("", ", halve", _dilation(depths[2], 1, 2), _dilation(depths[3], 2, 4))
    blocks = [Block("image", "", "data", shape(3, size, size))]
    stem = f"conv 7×7, halve\n({half}×{half}),\nmax pool, halve"
    blocks.append(Block("stem", stem, "conv", shape(64, quarter, quarter)))
    for stage in range(4):
        detail = f"{depths[stage]} bottleneck{'s' * (depths[stage] > 1)}\n{inner[stage]} inside{notes[stage]}"
        out = shape(outer[stage], sides[stage], sides[stage])
        blocks.append(Block(f"layer {stage + 1}", detail, "conv", out))
    branches = ("conv 1×1", "3×3, rate 12", "3×3, rate 24", "3×3, rate 36", "global average")
    blocks += [
        Block("ASPP: five in parallel", "", "conv", shape(256, eighth, eighth), branches),
        Block("join", "conv 1×1, dropout\n5 × 256 → 256", "conv", shape(256, eighth, eighth)),
        Block("conv", "3×3\n256 → 256", "conv", shape(256, eighth, eighth)),
        Block("score", "conv 1×1\nto 7 classes", "conv", shape(7, eighth, eighth)),
        Block("upsample", "bilinear", "resize", shape(7, size, size)),
        Block("mask", "largest score\nof each pixel", "data"),
    ]
    return blocks


def _dilation(depth: int, first: int, rest: int) -> str:
    """The dilation of a stage without stride: its first block keeps the one before (torchvision's ResNet)."""
    return f"\ndilation {first}, then {rest}" if depth > 1 else f"\ndilation {first}"
