"""The drawings of recorded networks against shapes worked by hand from the parameters."""

from recorded import convnext, deeplabv3, fcn32s, setting, small_cnn

from hw1.report.networks import (
    byol_boxes,
    convnext_blocks,
    deeplabv3_blocks,
    fcn32s_blocks,
    setting_boxes,
    small_cnn_blocks,
)

BASE = {"network": "convnext_base", "resize": 232, "crop": 224}


def shapes(blocks):
    return [block.shape for block in blocks]


def titles(blocks):
    return [block.title for block in blocks]


def by_title(blocks):
    return {block.title: block for block in blocks}


def test_small_cnn_stretched_to_the_reports_width_flattens_to_29696():
    expected = ["3×32×32", "3×32×232", "32×32×232", "32×16×116", "64×16×116", "64×8×58", "29,696", "128", ""]
    assert shapes(small_cnn_blocks(small_cnn(), 50)) == expected


def test_small_cnn_of_its_own_size_is_not_stretched():
    assert "stretch" not in titles(small_cnn_blocks(small_cnn(width=32), 50))


def test_small_cnn_with_printed_head_ends_at_fc_1():
    blocks = small_cnn_blocks(small_cnn(), 50)
    assert titles(blocks)[-2:] == ["fc 1", "scores"]
    assert [block.detail for block in blocks[-2:]] == [
        "29,696 → 128\nas printed: the end",
        "128 outputs for\n50 classes",
    ]


def test_small_cnn_with_declared_head_ends_at_fc_2():
    blocks = small_cnn_blocks(small_cnn(head="declared"), 50)
    assert titles(blocks)[-4:] == ["fc 1", "dropout", "fc 2", "scores"]
    assert [block.detail for block in blocks[-4:]] == [
        "29,696 → 128\nReLU",
        "0.25; the features\nof PCA and t-SNE",
        "128 → 50",
        "50 classes",
    ]


def test_convolutions_of_the_small_cnn_tell_kernel_padding_and_channels():
    blocks = by_title(small_cnn_blocks(small_cnn(), 50))
    assert blocks["conv 1"].detail == "3×3, pad 1\n3 → 32, ReLU"
    assert blocks["conv 2"].detail == "3×3, pad 1\n32 → 64, ReLU"


def test_convnext_base_of_the_paper_has_its_known_shapes():
    expected = ["3×224×224", "128×56×56", "128×56×56", "256×28×28", "512×14×14", "1024×7×7", "1,024", "500", "50", ""]
    assert shapes(convnext_blocks(convnext(**BASE), 232)) == expected


def test_convnext_printed_rule_freezes_all_but_stage_4_and_two_blocks():
    blocks = by_title(convnext_blocks(convnext(**BASE, trainable="printed"), 232))
    frozen = [title for title, block in blocks.items() if block.kind == "frozen"]
    assert frozen == ["stem", "stage 1", "stage 2", "stage 3"]
    assert blocks["stage 3"].detail == "halve, 27 blocks\nfrozen but for\nblocks 7 and 17"


def test_convnext_tells_a_frozen_halving_from_the_trained_blocks_after_it():
    # Of stage 4 the rule trains features.7; features.6, which halves the maps before it, has no 7 in its name.
    partly, whole = (by_title(convnext_blocks(convnext(**BASE, trainable=rule), 232)) for rule in ("printed", "all"))
    assert partly["stage 4"].detail == "halve (frozen),\n3 blocks\ntrained"
    assert whole["stage 4"].detail == "halve, 3 blocks\ntrained"


def test_convnext_stage7_rule_leaves_no_block_of_stage_3():
    blocks = by_title(convnext_blocks(convnext(**BASE, trainable="stage7"), 232))
    assert blocks["stage 3"].detail == "halve, 27 blocks\nfrozen"


def test_convnext_trained_as_a_whole_has_nothing_frozen():
    blocks = convnext_blocks(convnext(trainable="all"), 50)
    assert "frozen" not in {block.kind for block in blocks}
    assert by_title(blocks)["stem"].detail == "conv 4×4, stride 4\ntrained"


def test_fcn32s_halves_five_times_and_returns_the_tiles_size():
    # An eighth of VGG16's 64, 128, 256, 512, 512 and 4096 channels.
    expected = ["3×64×64", "8×32×32", "16×16×16", "32×8×8", "64×4×4", "64×2×2"]
    expected += ["512×2×2", "512×2×2", "7×2×2", "7×64×64", ""]
    assert shapes(fcn32s_blocks(fcn32s(64))) == expected


def test_fcn32s_has_vgg16s_numbers_of_convolutions():
    stages = [block.detail.split()[0] for block in fcn32s_blocks(fcn32s(64)) if block.title.startswith("VGG")]
    assert stages == ["2", "2", "3", "3", "3"]


def test_fcn32s_tells_the_window_of_its_layers():
    blocks = by_title(fcn32s_blocks(fcn32s(64)))
    assert blocks["fc 6"].detail == "conv 7×7, ReLU\ndropout 0.5"
    assert blocks["fc 7"].detail == "conv 1×1, ReLU\ndropout 0.5"
    assert blocks["upsample 32×"].detail == "transposed conv\n64×64, stride 32\nbilinear at first"


def test_fcn32s_pads_a_tile_to_a_multiple_of_32_and_returns_its_own_size():
    blocks = fcn32s_blocks(fcn32s(40))
    assert (blocks[0].detail, blocks[0].shape) == ("padded from 40\nto a multiple of 32", "3×64×64")
    assert shapes(blocks)[-2] == "7×40×40"


def test_deeplabv3_keeps_an_eighth_of_the_size():
    expected = ["256×128×128", "512×64×64", "1024×64×64", "2048×64×64"]
    assert shapes(deeplabv3_blocks(deeplabv3(512, width=1.0)))[2:6] == expected


def test_deeplabv3_tells_resnet50s_blocks_and_their_dilations():
    blocks = by_title(deeplabv3_blocks(deeplabv3(512, width=1.0)))
    assert [blocks[f"layer {number}"].detail for number in (1, 2, 3, 4)] == [
        "3 bottlenecks\n64 inside",
        "4 bottlenecks\n128 inside, halve",
        "6 bottlenecks\n256 inside\ndilation 1, then 2",
        "3 bottlenecks\n512 inside\ndilation 2, then 4",
    ]


def test_deeplabv3_of_a_quarter_has_single_blocks():
    blocks = by_title(deeplabv3_blocks(deeplabv3(96)))
    assert blocks["layer 1"].detail == "1 bottleneck\n16 inside"
    assert blocks["layer 4"].detail == "1 bottleneck\n128 inside\ndilation 2"


def test_deeplabv3_shows_the_papers_five_branches():
    blocks = by_title(deeplabv3_blocks(deeplabv3(96)))
    expected = ("conv 1×1", "3×3, rate 12", "3×3, rate 24", "3×3, rate 36", "global average")
    assert blocks["ASPP: five in parallel"].branches == expected
    assert blocks["join"].detail == "conv 1×1, dropout\n5 × 256 → 256"


def test_setting_is_drawn_frozen_where_only_its_classifier_is_trained():
    for train, kind in (("full", "conv"), ("classifier", "frozen")):
        image, backbone, linear, _ = setting_boxes(setting(train, 65), "ResNet18")
        assert (backbone.kind, backbone.shape) == (kind, "512")
        assert (image.shape, linear.detail, linear.shape) == ("3×32×32", "512 → 65", "65")


def test_byols_projector_takes_the_backbones_features(params):
    boxes = byol_boxes(params, 2048)
    assert boxes["f"].shape == boxes["f'"].shape == "2,048"
    assert boxes["g"].detail == "MLP: 2048 →\n512 → 128" and boxes["q"].detail == "MLP: 128 →\n512 → 128"
