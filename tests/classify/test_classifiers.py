"""The classifiers: layout, sizes, and what is frozen."""

import copy
import dataclasses

import pytest
import torch
from torch import nn
from trainings import CLASSIFIER

from hw1.classify.classifiers import (
    FinetunedClassifier,
    PartlyFrozen,
    SmallCNN,
    build_backbone,
    build_classifier,
    build_convnext,
    feature_width,
)
from hw1.run.parameters.params import ConvNeXt, SmallCnn

PRINTED = SmallCnn(**CLASSIFIER, height=16, width=40, head="printed", hidden=12, dropout=0.25)
DECLARED = dataclasses.replace(PRINTED, head="declared")
PAPER_A = dataclasses.replace(PRINTED, height=32, width=232, hidden=128)
ATTO = ConvNeXt(**CLASSIFIER, network="convnext_atto", weights="none", trainable="all", resize=40, crop=36, hidden=20)
PAPER_B = dataclasses.replace(ATTO, network="convnext_base", trainable="printed", resize=232, crop=224, hidden=500)


@pytest.fixture(autouse=True)
def seed_and_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)  # on a busy machine several wait for each other at every small step


def resnet18(frozen):
    return FinetunedClassifier(build_backbone("resnet18"), 512, 5, frozen)


NETWORKS = {
    "A printed": lambda: build_classifier(PRINTED, 5),
    "A declared": lambda: SmallCNN(DECLARED, 5),
    "B all": lambda: build_classifier(ATTO, 5),
    "B printed": lambda: build_convnext(dataclasses.replace(ATTO, trainable="printed"), 5),
    "full": lambda: resnet18(frozen=False),
    "frozen": lambda: resnet18(frozen=True),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_odd_sizes_and_a_batch_of_one_give_finite_logits(name):
    network = NETWORKS[name]().eval()
    with torch.no_grad():
        logits = network(torch.rand(1, 3, 33, 47))
    assert logits.shape == (1, 12 if name == "A printed" else 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_trained_parameter_and_no_other_gets_a_gradient(name):
    network = NETWORKS[name]().train()
    assert name != "B all" or all(parameter.requires_grad for parameter in network.parameters())
    logits = network(torch.randn(4, 3, 40, 40))
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    for parameter_name, parameter in network.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.any())
        assert moved == parameter.requires_grad, parameter_name


# -- model A


def test_printed_head_of_the_paper_has_29696_inputs_and_128_logits_or_one_for_each_class():
    with torch.device("meta"):
        network = SmallCNN(PAPER_A, 50)
    assert (network.last.in_features, network.last.out_features) == (29_696, 128)
    # 3*32*9 + 32, 32*64*9 + 64, 29,696*128 + 128
    assert sum(parameter.numel() for parameter in network.parameters()) == 896 + 18_496 + 3_801_216
    assert SmallCNN(PRINTED, 15).last.out_features == 15


def test_declared_head_is_fc1_relu_dropout_fc2():
    network = SmallCNN(DECLARED, 5)
    flatten, fc1, relu, dropout = network.hidden
    assert (type(flatten), type(relu), type(dropout)) == (nn.Flatten, nn.ReLU, nn.Dropout)
    assert dropout.p == 0.25
    assert (fc1.in_features, fc1.out_features) == (64 * 4 * 10, 12)
    assert (network.last.in_features, network.last.out_features) == (12, 5)


@pytest.mark.parametrize("params", [PRINTED, DECLARED], ids=["printed", "declared"])
def test_features_are_the_input_of_the_last_linear(params):
    network = SmallCNN(params, 5).eval()
    seen = []
    network.last.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    images = torch.rand(2, 3, 16, 16)
    network(images)
    assert torch.equal(network.features(images), seen[0])
    assert network.features(images).shape == (2, network.last.in_features)


def test_images_are_stretched_to_the_nearest_pixel_and_taken_as_they_are_at_the_networks_size():
    network = SmallCNN(PRINTED, 5).eval()
    images = torch.rand(2, 3, 16, 8)
    stretched = images.repeat_interleave(5, dim=-1)  # 8 -> 40 wide
    assert torch.equal(network(images), network(stretched))
    assert torch.equal(network.features(stretched), network.convolutions(stretched).flatten(1))


# -- model B


@pytest.mark.parametrize("params", [ATTO, PAPER_B], ids=["atto", "base"])
def test_convnext_classifier_is_the_reports(params):
    with torch.device("meta"):
        flatten, first, relu, last = build_convnext(params, 50).classifier
    assert (type(flatten), type(relu)) == (nn.Flatten, nn.ReLU)
    assert (first.in_features, first.out_features) == (320 if params is ATTO else 1024, params.hidden)
    assert (last.in_features, last.out_features) == (params.hidden, 50)


def trained(trainable):
    """Names and number of the parameters ConvNeXt-Base trains apart from its classifier's."""
    with torch.device("meta"):
        network = build_convnext(dataclasses.replace(PAPER_B, trainable=trainable), 50)
    assert all(parameter.requires_grad for parameter in network.classifier.parameters())
    body = {name: parameter for name, parameter in network.features.named_parameters() if parameter.requires_grad}
    blocks = {".".join(name.split(".")[:2]) for name in body}
    return blocks, sum(parameter.numel() for parameter in body.values())


# A block of width d: 7x7 depthwise 50 d, LayerNorm 2 d, Linear d -> 4d -> d 8 d^2 + 5 d, layer scale d.
BLOCK_1024, BLOCK_512 = (58 * d + 8 * d * d for d in (1024, 512))


@pytest.mark.parametrize(
    "rule, blocks, count, millions",
    [
        # Every name with a 7.
        ("printed", {"7.0", "7.1", "7.2", "5.7", "5.17"}, 3 * BLOCK_1024 + 2 * BLOCK_512, 29.6),
        ("stage7", {"7.0", "7.1", "7.2"}, 3 * BLOCK_1024, 25.3),
    ],
)
def test_freezing_rule_trains_its_blocks_only(rule, blocks, count, millions):
    assert trained(rule) == (blocks, count)
    assert round(count / 1e6, 1) == millions


# -- the ResNets of problem 2


@pytest.mark.parametrize("name, width", [("resnet10", 512), ("resnet18", 512), ("resnet34", 512), ("resnet50", 2048)])
def test_backbone_puts_out_its_features(name, width):
    backbone = build_backbone(name).eval()
    assert feature_width(backbone) == width
    with torch.no_grad():
        assert backbone(torch.rand(1, 3, 33, 47)).shape == (1, width)


def statistics(network):
    return torch.cat([buffer.flatten().double() for buffer in network.backbone.buffers()])


@pytest.mark.parametrize("frozen", [True, False])
def test_backbone_statistics_and_mode_stay_put_where_it_is_frozen_and_there_only(frozen):
    network = resnet18(frozen)
    before = statistics(network).clone()
    network.eval().train()(torch.randn(4, 3, 32, 32))
    assert torch.equal(statistics(network), before) == frozen
    assert network.classifier.training
    assert {module.training for module in network.backbone.modules()} == {not frozen}


def test_frozen_backbone_keeps_no_graph():
    network = resnet18(frozen=True).train()
    seen = []
    network.backbone.register_forward_hook(lambda module, inputs, output: seen.append(output))
    # Even where the images themselves take gradients, which alone would make the backbone keep its activations.
    assert network(torch.randn(2, 3, 32, 32, requires_grad=True)).requires_grad
    assert not seen[0].requires_grad


# -- the frozen part of ConvNeXt


def partly_frozen():
    """Three stages of blocks; the first with a trained parameter is the second stage's second."""
    blocks = [[nn.Linear(4, 4)], [nn.Linear(4, 4), nn.Linear(4, 4)], [nn.Sequential(nn.Linear(4, 4), nn.Dropout())]]
    network = PartlyFrozen(*(nn.Sequential(*stage) for stage in blocks)).requires_grad_(False)
    network[1][1].requires_grad_(True)
    return network


def test_blocks_before_the_first_trained_one_keep_nothing_for_the_backward_pass():
    network, graphs = partly_frozen(), []
    for block in (network[0][0], network[1][0], network[1][1], network[2][0]):
        block.register_forward_hook(lambda module, inputs, output: graphs.append(output.requires_grad))
    network(torch.randn(2, 4, requires_grad=True)).sum().backward()
    assert graphs == [False, False, True, True]
    trained = [name for name, parameter in network.named_parameters() if parameter.grad is not None]
    assert trained == ["1.1.weight", "1.1.bias"]
    with torch.no_grad():
        assert not network(torch.randn(2, 4)).requires_grad


def test_blocks_without_trained_parameters_stay_in_eval_mode():
    network = partly_frozen().train()
    modes = [block.training for block in (network[0][0], network[1][0], network[1][1], network[2][0], network[2][0][1])]
    assert modes == [False, False, True, False, False]
    assert not any(block.training for block in network.eval()[1])


def test_frozen_convnext_gives_its_trained_part_the_gradients_of_the_whole():
    torch.manual_seed(0)
    network = build_convnext(dataclasses.replace(ATTO, trainable="stage7"), 5)
    whole = copy.deepcopy(network).requires_grad_(True)
    images = torch.randn(2, 3, 36, 36)
    for each in (network, whole):
        each(images).square().sum().backward()
    for name, parameter in network.named_parameters():
        if name.startswith(("classifier.", "features.7.")):
            assert torch.allclose(parameter.grad, whole.get_parameter(name).grad, atol=1e-5), name
        else:
            assert parameter.grad is None, name
