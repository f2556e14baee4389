"""The drawings against shapes worked by hand from the parameters."""

from dataclasses import replace

from hw1.report.networks import convnext_blocks, segmenter_blocks, small_cnn_blocks
from hw1.segment.segmenters import build_segmenter


def shapes(blocks):
    return [block.shape for block in blocks]


def titles(blocks):
    return [block.title for block in blocks]


def test_small_cnn_stretched_to_the_reports_width_flattens_to_29696(params):
    assert "29,696" in shapes(small_cnn_blocks(params.classify.A, 32, 50))


def test_small_cnn_of_its_own_size_is_not_stretched(params):
    model = replace(params.classify.A, width=32)
    assert "stretch" not in titles(small_cnn_blocks(model, 32, 50))


def test_small_cnn_with_printed_head_ends_at_fc_1(params):
    assert titles(small_cnn_blocks(params.classify.A, 32, 50))[-2:] == ["fc 1", "scores"]


def test_small_cnn_with_declared_head_ends_at_fc_2(params):
    model = replace(params.classify.A, head="declared")
    assert titles(small_cnn_blocks(model, 32, 50))[-4:] == ["fc 1", "dropout", "fc 2", "scores"]


def test_convnext_base_of_the_paper_has_its_known_shapes(params):
    model = replace(params.classify.B, network="convnext_base", resize=232, crop=224)
    expected = ["3×224×224", "128×56×56", "128×56×56", "256×28×28", "512×14×14", "1024×7×7", "1,024", "500", "50", ""]
    assert shapes(convnext_blocks(model, 50)) == expected


def test_convnext_printed_rule_freezes_all_but_stage_4_and_two_blocks(params):
    model = replace(params.classify.B, network="convnext_base", trainable="printed")
    blocks = {block.title: block for block in convnext_blocks(model, 50)}
    frozen = [title for title, block in blocks.items() if block.kind == "frozen"]
    assert frozen == ["stem", "stage 1", "stage 2", "stage 3"]
    assert "blocks 7 and 17" in blocks["stage 3"].detail


def test_convnext_stage7_rule_leaves_no_block_of_stage_3(params):
    model = replace(params.classify.B, network="convnext_base", trainable="stage7")
    assert convnext_blocks(model, 50)[4].detail.endswith("27 blocks\nfrozen")


def test_fcn32s_at_full_width_has_vgg16s_shapes(params):
    model = replace(params.segment.A, width=1.0)
    expected = ["3×512×512", "64×256×256", "128×128×128", "256×64×64", "512×32×32", "512×16×16"]
    assert shapes(segmenter_blocks(model, 512))[:6] == expected


def test_fcn32s_pads_a_tile_to_a_multiple_of_32(params):
    assert shapes(segmenter_blocks(params.segment.A, 360))[0] == "3×384×384"


def test_fcn32s_returns_the_tiles_own_size(params):
    assert shapes(segmenter_blocks(params.segment.A, 360))[-2] == "7×360×360"


def test_deeplabv3_keeps_an_eighth_of_the_size(params):
    model = replace(params.segment.B, width=1.0)
    assert shapes(segmenter_blocks(model, 512))[2:6] == ["256×128×128", "512×64×64", "1024×64×64", "2048×64×64"]


def test_deeplabv3_at_full_width_has_resnet50s_blocks(params):
    model = replace(params.segment.B, width=1.0)
    counts = [block.detail.split()[0] for block in segmenter_blocks(model, 512)[2:6]]
    assert counts == ["3", "4", "6", "3"]


def test_drawn_deeplabv3_is_as_wide_as_the_network_that_is_trained(params):
    backbone = build_segmenter(params.segment.B, 7).network.backbone
    drawn = shapes(segmenter_blocks(params.segment.B, 96))[5]
    assert drawn.split("×")[0] == str(backbone.layer4[-1].conv3.out_channels)
