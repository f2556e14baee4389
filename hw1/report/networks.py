"""The drawings the report asks for: what stage evaluate recorded of the networks, arranged in boxes.

A recorded network has the sizes of its ``input`` and ``output`` (channels, height, width of one image) and its
``parts`` in order (:func:`hw1.evaluate.trained.architecture`). What is said of it here is words only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hw1.report.diagram import draw_p2
from hw1.report.drawings import Block, draw_network, shape
from hw1.report.names import NAMES
from hw1.run.parameters.params import ConvNeXt, Params, Segmenter

Part = Mapping[str, Any]
Network = Mapping[str, Any]

SHOWN = "the features\nof PCA and t-SNE"
MASK = Block("mask", "largest score\nof each pixel", "data")


def draw_networks(params: Params, facts: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """The five drawings, as PNG files in ``folder``; ``facts`` are the evaluation's summaries by problem."""
    networks = {problem: summary["networks"] for problem, summary in facts.items()}
    title = f"Problem 1, model A: small CNN, head as {params.classify.A.head}"
    blocks = small_cnn_blocks(networks["p1"]["A"], facts["p1"]["classes"])
    draw_network(title, blocks, 5, folder / "p1_network_a.png")
    convnext = params.classify.B
    title = f"Problem 1, model B: {NAMES[convnext.network]}, {_origin(convnext)}"
    draw_network(title, convnext_blocks(networks["p1"]["B"], convnext.resize), 5, folder / "p1_network_b.png")
    draw_p2(params, networks["p2"], folder / "p2_networks.png")
    for key, model in vars(params.segment).items():
        share = "" if model.width == 1 else f", width × {model.width:g}"
        title = f"Problem 3, model {key}: {NAMES[model.network]}{share}, {_origin(model)}"
        blocks = SEGMENTER_BLOCKS[model.network](networks["p3"][key])
        draw_network(title, blocks, 6, folder / f"p3_network_{key.lower()}.png")


def _origin(model: ConvNeXt | Segmenter) -> str:
    return {"imagenet": "ImageNet weights", "mini": "pre-trained here on mini's labels", "none": "random weights"}[
        model.weights
    ]


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
    """A layer of the small CNN, the ``number``-th of its kind, with what else is said of it."""
    out, kind = shape(*part["output"]), part["kind"]
    if kind == "Conv2d":
        window = f"{_square(part['kernel'])}, pad {part['padding']}"
        return Block(f"conv {number}", f"{window}\n{_channels(part)}, {words}", "conv", out)
    if kind == "MaxPool2d":
        return Block("max pool", _square(part["kernel"]), "resize", out)
    if kind == "Flatten":
        return Block("flatten", words, "resize", out)
    if kind == "Dropout":
        return Block("dropout", f"{part['dropped']:g}; {words}", "linear", out)
    return Block(f"fc {number}", f"{_channels(part)}\n{words}".rstrip(), "linear", out)


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
            what = _halving_words(halving, all(trained)) + f"{len(trained)} blocks"
            blocks.append(_partly_frozen(f"stage {stages}", what, part, trained))
        elif part["kind"] == "Conv2d" and not stages:
            what = f"conv {_square(part['kernel'])}, stride {part['stride']}"
            blocks.append(_partly_frozen("stem", what, part, [part["trained"]]))
        elif part["kind"] == "Conv2d":
            halving = part
        elif part["kind"] == "Flatten":
            blocks.append(Block("average pool", "over height, width", "resize", shape(*part["output"])))
        elif part["kind"] == "Linear":
            relu = "\nReLU" if part is not network["parts"][-1] else ""
            blocks.append(Block("linear", f"{_channels(part)}{relu}", "linear", shape(*part["output"])))
    return [*blocks, Block("scores", f"{network['output'][0]} classes", "data")]


def _halving_words(halving: Part | None, trained: bool) -> str:
    """What the convolution before a stage does, the first has none; named where it is frozen and the blocks are not."""
    if halving is None or halving["stride"] != 2:
        return ""
    return "halve (frozen),\n" if trained and not halving["trained"] else "halve, "


def _partly_frozen(title: str, what: str, part: Part, trained: Sequence[bool]) -> Block:
    """A part, with which of its blocks are ``trained``."""
    out = shape(*part["output"])
    if all(trained):
        return Block(title, f"{what}\ntrained", "conv", out)
    if not any(trained):
        return Block(title, f"{what}\nfrozen", "frozen", out)
    single = " and ".join(str(index) for index, block in enumerate(trained) if block)
    return Block(title, f"{what}\nfrozen but for\nblocks {single}", "frozen", out)


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
            blocks.append(Block(f"VGG stage {stages}", what, "conv", shape(*part["output"])))
            convolutions = []
    for title, name in (("fc 6", "fc6"), ("fc 7", "fc7")):
        what = f"conv {_square(parts[name]['kernel'])}, ReLU\ndropout {parts['dropout']['dropped']:g}"
        blocks.append(Block(title, what, "conv", shape(*parts[name]["output"])))
    window = f"{_square(upsample['kernel'])}, stride {upsample['stride']}"
    title, what = f"upsample {upsample['stride']}×", f"transposed conv\n{window}\nbilinear at first"
    return [*blocks, _score(parts["score"]), Block(title, what, "resize", shape(*network["output"])), MASK]


def _score(part: Part) -> Block:
    what = f"conv {_square(part['kernel'])}\nto {part['output'][0]} classes"
    return Block("score", what, "conv", shape(*part["output"]))


def deeplabv3_blocks(network: Network) -> list[Block]:
    """A ResNet of output stride 8 under the ASPP head."""
    parts = {part["name"].removeprefix("network."): part for part in network["parts"]}
    first, pool = parts["backbone.conv1"], parts["backbone.maxpool"]
    sides = "×".join(map(str, first["output"][1:]))
    stem = f"conv {_square(first['kernel'])}, halve\n({sides}),\nmax pool, halve"
    blocks = [
        Block("image", "", "data", shape(*network["input"])),
        Block("stem", stem, "conv", shape(*pool["output"])),
    ]
    for layer in range(1, 5):
        part = parts[f"backbone.layer{layer}"]
        blocks.append(Block(f"layer {layer}", _bottlenecks(part["blocks"]), "conv", shape(*part["output"])))
    branches = _branches(parts)
    reduced = branches[0][-1]["output"]
    join, conv = parts["classifier.0.project.0"], parts["classifier.1"]
    joined = f"conv {_square(join['kernel'])}, dropout\n{len(branches)} × {reduced[0]} → {join['output'][0]}"
    return [
        *blocks,
        Block("ASPP: five in parallel", "", "conv", shape(*reduced), tuple(map(_branch_words, branches))),
        Block("join", joined, "conv", shape(*join["output"])),
        Block("conv", f"{_square(conv['kernel'])}\n{_channels(conv)}", "conv", shape(*conv["output"])),
        _score(parts["classifier.4"]),
        Block("upsample", "bilinear", "resize", shape(*network["output"])),
        MASK,
    ]


SEGMENTER_BLOCKS = {"fcn32s_vgg16": fcn32s_blocks, "deeplabv3_resnet50": deeplabv3_blocks}


def _bottlenecks(blocks: Sequence[Part]) -> str:
    """How many, their inner channels, and what they do to the resolution: halve it, or spread their kernels' taps."""
    first, rest = blocks[0], blocks[1:]
    said = f"{len(blocks)} bottleneck{'s' * (len(blocks) > 1)}\n{first['width']} inside"
    if first["stride"] == 2:
        said += ", halve"
    if any(block["dilation"] > 1 for block in blocks):
        said += f"\ndilation {first['dilation']}" + (f", then {rest[0]['dilation']}" if rest else "")
    return said


def _branches(parts: Mapping[str, Part]) -> list[list[Part]]:
    """The layers of each of the ASPP's branches."""
    branches: dict[str, list[Part]] = {}
    for name, part in parts.items():
        if name.startswith("classifier.0.convs."):
            branches.setdefault(name.split(".")[3], []).append(part)
    return list(branches.values())


def _branch_words(layers: Sequence[Part]) -> str:
    first = layers[0]
    if first["kind"] == "AdaptiveAvgPool2d":
        return "global average"
    kernel = _square(first["kernel"])
    return f"conv {kernel}" if first["kernel"] == 1 else f"{kernel}, rate {first['dilation']}"
