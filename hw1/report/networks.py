"""The drawings the report asks for: what stage evaluate recorded of the networks, arranged in boxes.

A recorded network has the sizes of its ``input`` and ``output`` (channels, height, width of one image) and its
``parts`` in order (:func:`hw1.evaluate.trained.architecture`). What is said of it here is words only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hw1.report.canvas import (
    BOX,
    CENTRED,
    INK,
    SMALL,
    Axes,
    Block,
    arrow,
    draw_block,
    draw_network,
    legend,
    save,
    shape,
    surface,
)
from hw1.report.names import NAMES, START, WEIGHTS
from hw1.run.parameters.params import ByolTraining, Params

Part = Mapping[str, Any]
Network = Mapping[str, Any]

SHOWN = "the features\nof PCA and t-SNE"
MASK = Block("mask", "largest score\nof each pixel", "data")
ROW = 0.62  # inches: height of a setting's row


def draw_networks(params: Params, facts: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """The five drawings, as PNG files in ``folder``; ``facts`` are the evaluation's summaries by problem."""
    networks = {problem: summary["networks"] for problem, summary in facts.items()}
    title = f"Problem 1, model A: small CNN, head as {params.classify.A.head}"
    blocks = small_cnn_blocks(networks["p1"]["A"], facts["p1"]["classes"])
    draw_network(title, blocks, 5, folder / "p1_network_a.png")
    convnext = params.classify.B
    title = f"Problem 1, model B: {NAMES[convnext.network]}, {WEIGHTS[convnext.weights][1]}"
    draw_network(title, convnext_blocks(networks["p1"]["B"], convnext.resize), 5, folder / "p1_network_b.png")
    draw_p2(params, networks["p2"], folder / "p2_networks.png")
    for key, model in vars(params.segment).items():
        share = "" if model.width == 1 else f", width × {model.width:g}"
        title = f"Problem 3, model {key}: {NAMES[model.network]}{share}, {WEIGHTS[model.weights][1]}"
        blocks = SEGMENTER_BLOCKS[model.network](networks["p3"][key])
        draw_network(title, blocks, 6, folder / f"p3_network_{key.lower()}.png")


def small_cnn_blocks(network: Network, classes: int) -> list[Block]:
    """The small CNN with the head in use, trained on images of ``classes`` classes."""
    parts, outputs = network["parts"], network["output"][0]
    blocks = [Block("image", "", "data", shape(*network["input"]))]
    fed = parts[0]["input"]
    if fed != network["input"]:
        blocks.append(Block("stretch", f"nearest, to\n{fed[1]} × {fed[2]}", "resize", shape(*fed)))
    numbers = Counter()
    for index, part in enumerate(parts):
        numbers[part["kind"]] += 1
        last = index == len(parts) - 1
        words = "ReLU" if not last and parts[index + 1]["kind"] == "ReLU" else ""
        if index == len(parts) - 2:
            words = SHOWN
        elif last and numbers["Linear"] == 1:
            words = "as printed: the end"
        if part["kind"] != "ReLU":
            blocks.append(_layer(part, numbers[part["kind"]], words))
    said = f"{classes} classes" if outputs == classes else f"{outputs} outputs for\n{classes} classes"
    return [*blocks, Block("scores", said, "data")]


def _layer(part: Part, number: int, words: str) -> Block:
    """A layer of the small CNN, the ``number``-th of its kind, with further words on it."""
    match part["kind"]:
        case "Conv2d":
            window = f"{_square(part['kernel'])}, pad {part['padding']}"
            return _block(f"conv {number}", f"{window}\n{_channels(part)}, {words}", "conv", part)
        case "MaxPool2d":
            return _block("max pool", _square(part["kernel"]), "resize", part)
        case "Flatten":
            return _block("flatten", words, "resize", part)
        case "Dropout":
            return _block("dropout", f"{part['dropped']:g}; {words}", "linear", part)
    return _block(f"fc {number}", f"{_channels(part)}\n{words}".rstrip(), "linear", part)


def _block(title: str, detail: str, kind: str, part: Part, branches: tuple[str, ...] = ()) -> Block:
    """A box with the shape of the part's output on its arrow."""
    return Block(title, detail, kind, shape(*part["output"]), branches)


def _channels(part: Part) -> str:
    return f"{part['input'][0]:,} → {part['output'][0]:,}"


def _square(side: int) -> str:
    return f"{side}×{side}"


def convnext_blocks(network: Network, resize: int) -> list[Block]:
    """The ConvNeXt with the report's classifier, fed images resized to ``resize`` px; what is frozen is dashed grey."""
    blocks = [Block("image", f"resized to {resize},\ncropped", "data", shape(*network["input"]))]
    halving, stages = None, 0
    for part in network["parts"]:
        if "blocks" in part:
            stages += 1
            trained = [block["trained"] for block in part["blocks"]]
            what = f"{len(trained)} blocks"
            if halving:  # told apart where it is frozen and the blocks after it are not
                what = ("halve (frozen),\n" if all(trained) and not halving["trained"] else "halve, ") + what
            blocks.append(_partly_frozen(f"stage {stages}", what, part, trained))
        elif part["kind"] == "Conv2d" and not stages:
            what = f"conv {_square(part['kernel'])}, stride {part['stride']}"
            blocks.append(_partly_frozen("stem", what, part, [part["trained"]]))
        elif part["kind"] == "Conv2d":
            halving = part if part["stride"] == 2 else None
        elif part["kind"] == "Flatten":
            blocks.append(_block("average pool", "over height, width", "resize", part))
        elif part["kind"] == "Linear":
            relu = "\nReLU" if part is not network["parts"][-1] else ""
            blocks.append(_block("linear", f"{_channels(part)}{relu}", "linear", part))
    return [*blocks, Block("scores", f"{network['output'][0]} classes", "data")]


def _partly_frozen(title: str, what: str, part: Part, trained: Sequence[bool]) -> Block:
    """A part of which some of the blocks are ``trained``."""
    if all(trained):
        return _block(title, f"{what}\ntrained", "conv", part)
    single = " and ".join(str(index) for index, block in enumerate(trained) if block)
    return _block(title, f"{what}\nfrozen but for\nblocks {single}" if single else f"{what}\nfrozen", "frozen", part)


def fcn32s_blocks(network: Network) -> list[Block]:
    """VGG16 made to score every place of the image."""
    parts = {part["name"]: part for part in network["parts"]}
    size, padded, upsample = network["input"], network["parts"][0]["input"], parts["upsample"]
    said = "" if padded == size else f"padded from {size[1]}\nto a multiple of {upsample['stride']}"
    blocks = [Block("image", said, "data", shape(*padded))]
    convolutions, stages = [], 0
    for part in network["parts"]:
        if part["kind"] == "Conv2d":
            convolutions.append(_square(part["kernel"]))
        elif part["kind"] == "MaxPool2d":
            stages += 1
            what = f"{len(convolutions)} × conv {convolutions[0]}\nmax pool {_square(part['kernel'])}"
            blocks.append(_block(f"VGG stage {stages}", what, "conv", part))
            convolutions = []
    for title, name in (("fc 6", "fc6"), ("fc 7", "fc7")):
        what = f"conv {_square(parts[name]['kernel'])}, ReLU\ndropout {parts['dropout']['dropped']:g}"
        blocks.append(_block(title, what, "conv", parts[name]))
    window = f"{_square(upsample['kernel'])}, stride {upsample['stride']}"
    title, what = f"upsample {upsample['stride']}×", f"transposed conv\n{window}\nbilinear at first"
    return [*blocks, _score(parts["score"]), Block(title, what, "resize", shape(*network["output"])), MASK]


def _score(part: Part) -> Block:
    what = f"conv {_square(part['kernel'])}\nto {part['output'][0]} classes"
    return _block("score", what, "conv", part)


def deeplabv3_blocks(network: Network) -> list[Block]:
    """A ResNet of output stride 8 under the ASPP head."""
    parts = {part["name"].removeprefix("network."): part for part in network["parts"]}
    first, pool = parts["backbone.conv1"], parts["backbone.maxpool"]
    sides = "×".join(map(str, first["output"][1:]))
    stem = f"conv {_square(first['kernel'])}, halve\n({sides}),\nmax pool, halve"
    layers = [parts[f"backbone.layer{number}"] for number in range(1, 5)]
    branches: dict[str, list[Part]] = {}
    for name, part in parts.items():
        if name.startswith("classifier.0.convs."):
            branches.setdefault(name.split(".")[3], []).append(part)
    reduced = branches["0"][-1]
    join, conv = parts["classifier.0.project.0"], parts["classifier.1"]
    joined = f"conv {_square(join['kernel'])}, dropout\n{len(branches)} × {reduced['output'][0]} → {join['output'][0]}"
    return [
        Block("image", "", "data", shape(*network["input"])),
        _block("stem", stem, "conv", pool),
        *(_block(f"layer {index}", _bottlenecks(part["blocks"]), "conv", part) for index, part in enumerate(layers, 1)),
        _block("ASPP: five in parallel", "", "conv", reduced, tuple(map(_branch_words, branches.values()))),
        _block("join", joined, "conv", join),
        _block("conv", f"{_square(conv['kernel'])}\n{_channels(conv)}", "conv", conv),
        _score(parts["classifier.4"]),
        Block("upsample", "bilinear", "resize", shape(*network["output"])),
        MASK,
    ]


SEGMENTER_BLOCKS = {"fcn32s_vgg16": fcn32s_blocks, "deeplabv3_resnet50": deeplabv3_blocks}


def _bottlenecks(blocks: Sequence[Part]) -> str:
    """Number and inner channels of the blocks, and their way with the resolution: a stride or dilated kernels."""
    first, rest = blocks[0], blocks[1:]
    said = f"{len(blocks)} bottleneck{'s' * (len(blocks) > 1)}\n{first['width']} inside"
    if first["stride"] == 2:
        said += ", halve"
    if any(block["dilation"] > 1 for block in blocks):
        said += f"\ndilation {first['dilation']}" + (f", then {rest[0]['dilation']}" if rest else "")
    return said


def _branch_words(layers: Sequence[Part]) -> str:
    """Words for a branch of the ASPP by its first layer."""
    first = layers[0]
    if first["kind"] == "AdaptiveAvgPool2d":
        return "global average"
    kernel = _square(first["kernel"])
    return f"conv {kernel}" if first["kernel"] == 1 else f"{kernel}, rate {first['dilation']}"


# -- problem 2: BYOL above, the fine-tuning settings below


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
        axes.text(0.1, y, key, **CENTRED, fontsize=12, fontweight="bold")
        axes.text(0.68, y, f"weights at first:\n{START[setting.backbone]}", **CENTRED, fontsize=8.5)
        boxes = setting_boxes(networks[key], backbone)
        for column, block in enumerate(boxes):
            left = 1.4 + 1.2 * column
            draw_block(axes, left, y, block, ROW - 0.12)
            if block is not boxes[-1]:
                arrow(axes, (left + BOX, y), (left + 1.2, y), block.shape)
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
    # The arrow from the target to the loss is cut in its middle: no gradient goes back along it.
    (left, low), (right, high) = (3 + BOX, target), (5, between - 0.2)
    arrow(axes, (left, low), (right, high))
    middle = ((left + right) / 2, (low + high) / 2)
    axes.text(*middle, "//", fontsize=15, fontweight="bold", color=INK, **CENTRED)
    axes.text(middle[0], middle[1] + 0.25, "stop-gradient", fontsize=SMALL, **CENTRED)
    quarter = (left + (right - left) / 4, low + (high - low) / 4 + 0.08)
    axes.text(*quarter, f"z': {byol.projection}", ha="right", va="bottom", fontsize=SMALL)
    for column, name in ((2, "f"), (3, "g")):
        centre = column + BOX / 2
        arrow(axes, (centre, online - 0.5), (centre, target + 0.5), style="--")
        text = f"EMA: {name}' ← m {name}' + (1−m) {name}"
        axes.text(centre, between, text, fontsize=SMALL, backgroundcolor="white", **CENTRED)
    axes.text(2.5 + BOX / 2, between - 0.25, f"m from {byol.ema:g} to 1", fontsize=SMALL, **CENTRED)


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
