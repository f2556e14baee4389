"""Drawings of recorded networks against shapes worked by hand from the parameters."""

import pytest
from recorded import convnext, deeplabv3, fcn32s, setting, small_cnn

from hw1.report import networks

BASE = {"network": "convnext_base", "resize": 232, "crop": 224}


def shapes(blocks):
    return [block.shape for block in blocks]


def details(blocks):
    return {block.title: block.detail for block in blocks}


def test_small_cnn_stretched_to_the_reports_width_flattens_to_29696():
    expected = ["3×32×32", "3×32×232", "32×32×232", "32×16×116", "64×16×116", "64×8×58", "29,696", "128", ""]
    assert shapes(networks.small_cnn_blocks(small_cnn(), 50)) == expected
    assert "stretch" not in details(networks.small_cnn_blocks(small_cnn(width=32), 50))


@pytest.mark.parametrize(
    "head, last",
    [
        ("printed", {"fc 1": "29,696 → 128\nas printed: the end", "scores": "128 outputs for\n50 classes"}),
        (
            "declared",
            {"fc 1": "29,696 → 128\nReLU", "dropout": "0.25; the features\nof PCA and t-SNE"}
            | {"fc 2": "128 → 50", "scores": "50 classes"},
        ),
    ],
)
def test_small_cnn_tells_its_layers_and_its_head(head, last):
    told = details(networks.small_cnn_blocks(small_cnn(head=head), 50))
    assert list(told.items())[-len(last) :] == list(last.items())
    assert (told["conv 1"], told["conv 2"]) == ("3×3, pad 1\n3 → 32, ReLU", "3×3, pad 1\n32 → 64, ReLU")


def test_convnext_base_of_the_paper_has_its_known_shapes():
    expected = ["3×224×224", "128×56×56", "128×56×56", "256×28×28", "512×14×14", "1024×7×7", "1,024", "500", "50", ""]
    assert shapes(networks.convnext_blocks(convnext(**BASE), 232)) == expected


@pytest.mark.parametrize(
    "rule, stage_3, stage_4",
    [
        # Of stage 4 the rule trains features.7; features.6, which halves the maps before it, has no 7 in its name.
        ("printed", "halve, 27 blocks\nfrozen but for\nblocks 7 and 17", "halve (frozen),\n3 blocks\ntrained"),
        ("stage7", "halve, 27 blocks\nfrozen", "halve (frozen),\n3 blocks\ntrained"),
        ("all", "halve, 27 blocks\ntrained", "halve, 3 blocks\ntrained"),
    ],
)
def test_convnext_tells_what_its_rule_freezes(rule, stage_3, stage_4):
    blocks = networks.convnext_blocks(convnext(**BASE, trainable=rule), 232)
    frozen = [] if rule == "all" else ["stem", "stage 1", "stage 2", "stage 3"]
    assert [block.title for block in blocks if block.kind == "frozen"] == frozen
    assert (details(blocks)["stage 3"], details(blocks)["stage 4"]) == (stage_3, stage_4)
    assert details(blocks)["stem"] == f"conv 4×4, stride 4\n{'frozen' if frozen else 'trained'}"


def test_fcn32s_halves_five_times_and_returns_the_tiles_size():
    padded = networks.fcn32s_blocks(fcn32s(40))
    assert (padded[0].detail, padded[0].shape) == ("padded from 40\nto a multiple of 32", "3×64×64")
    assert shapes(padded)[-2] == "7×40×40"
    # An eighth of VGG16's 64, 128, 256, 512, 512 and 4096 channels.
    expected = ["3×64×64", "8×32×32", "16×16×16", "32×8×8", "64×4×4", "64×2×2"]
    expected += ["512×2×2", "512×2×2", "7×2×2", "7×64×64", ""]
    blocks = networks.fcn32s_blocks(fcn32s(64))
    assert shapes(blocks) == expected
    assert [words.split()[0] for title, words in details(blocks).items() if title.startswith("VGG")] == list("22333")
    assert details(blocks)["fc 6"] == "conv 7×7, ReLU\ndropout 0.5"
    assert details(blocks)["fc 7"] == "conv 1×1, ReLU\ndropout 0.5"
    assert details(blocks)["upsample 32×"] == "transposed conv\n64×64, stride 32\nbilinear at first"


def test_deeplabv3_keeps_an_eighth_of_the_size_by_dilation():
    blocks = networks.deeplabv3_blocks(deeplabv3(512, width=1.0))
    assert shapes(blocks)[2:6] == ["256×128×128", "512×64×64", "1024×64×64", "2048×64×64"]
    assert [details(blocks)[f"layer {number}"] for number in (1, 2, 3, 4)] == [
        "3 bottlenecks\n64 inside",
        "4 bottlenecks\n128 inside, halve",
        "6 bottlenecks\n256 inside\ndilation 1, then 2",
        "3 bottlenecks\n512 inside\ndilation 2, then 4",
    ]


def test_deeplabv3_of_a_quarter_has_single_blocks_and_the_papers_five_branches():
    blocks = networks.deeplabv3_blocks(deeplabv3(96))
    assert details(blocks)["layer 1"] == "1 bottleneck\n16 inside"
    assert details(blocks)["layer 4"] == "1 bottleneck\n128 inside\ndilation 2"
    (aspp,) = [block for block in blocks if block.branches]
    assert aspp.branches == ("conv 1×1", "3×3, rate 12", "3×3, rate 24", "3×3, rate 36", "global average")
    assert details(blocks)["join"] == "conv 1×1, dropout\n5 × 256 → 256"


@pytest.mark.parametrize("train, kind", [("full", "conv"), ("classifier", "frozen")])
def test_setting_is_drawn_frozen_where_only_its_classifier_is_trained(train, kind):
    image, backbone, linear, _ = networks.setting_boxes(setting(train, 65), "ResNet18")
    assert (backbone.kind, backbone.shape) == (kind, "512")
    assert (image.shape, linear.detail, linear.shape) == ("3×32×32", "512 → 65", "65")


def test_byols_projector_takes_the_backbones_features(params):
    boxes = networks.byol_boxes(params, 2048)
    assert boxes["f"].shape == boxes["f'"].shape == "2,048"
    assert boxes["g"].detail == "MLP: 2048 →\n512 → 128" and boxes["q"].detail == "MLP: 128 →\n512 → 128"
