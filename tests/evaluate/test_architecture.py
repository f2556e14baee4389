"""What is recorded of a network, against layers written down by hand."""

import json

import pytest
import torch
from torch import nn
from torchvision.models import resnet

from hw1.evaluate.trained import architecture


def recorded(network, size=8):
    return architecture(network, torch.zeros(1, 3, size, size))


def small():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.25), nn.Linear(64, 5)
    )


def test_parts_stand_in_order_with_the_sizes_of_one_image():
    network = recorded(small())
    assert (network["input"], network["output"]) == ([3, 8, 8], [5])
    assert [(part["kind"], part["input"], part["output"]) for part in network["parts"]] == [
        ("Conv2d", [3, 8, 8], [4, 4, 4]),
        ("BatchNorm2d", [4, 4, 4], [4, 4, 4]),
        ("Flatten", [4, 4, 4], [64]),
        ("Dropout", [64], [64]),
        ("Linear", [64], [5]),
    ]


def test_window_and_dropped_share_are_told():
    parts = recorded(small())["parts"]
    window = {key: parts[0][key] for key in ("kernel", "stride", "padding", "dilation")}
    assert window == {"kernel": 3, "stride": 2, "padding": 1, "dilation": 1}
    assert [part.get("dropped") for part in parts] == [None, None, None, 0.25, None]


def test_layer_is_trained_if_one_of_its_parameters_is():
    network = small()
    network[0].requires_grad_(False)
    network[4].weight.requires_grad_(False)  # its bias is trained
    assert [part.get("trained") for part in recorded(network)["parts"]] == [False, True, None, None, True]


def test_record_is_plain_json():
    network = recorded(small())
    assert json.loads(json.dumps(network)) == network


def test_network_stays_as_it_was():
    network = small()
    network[1].running_mean.fill_(3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for mode in (True, False):
        network.train(mode)
        recorded(network)
        assert network.training == network[1].training == mode
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_hooks_go_where_the_image_does_not_fit():
    network = small()
    with pytest.raises(RuntimeError):
        recorded(network, size=16)  # the linear layer takes 64 features
    assert not any(module._forward_hooks for module in network.modules())


def test_layer_that_is_called_twice_stands_twice():
    dropout = nn.Dropout(0.5)
    parts = recorded(nn.Sequential(dropout, nn.Conv2d(3, 2, 1), dropout))["parts"]
    assert [part["kind"] for part in parts] == ["Dropout", "Conv2d", "Dropout"]


class Tied(nn.Module):
    """Uses a layer's weights in a function, and has one without parameters that it does not call."""

    def __init__(self):
        super().__init__()
        self.upsample = nn.ConvTranspose2d(3, 3, 4, stride=2)
        self.unused = nn.ReLU()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, images):
        return nn.functional.conv_transpose2d(self.conv(images), self.upsample.weight, stride=2)


def test_layer_whose_weights_a_function_uses_comes_last_without_sizes():
    conv, upsample = recorded(Tied())["parts"]
    assert conv["name"] == "conv"
    assert upsample == {
        **{"name": "upsample", "kind": "ConvTranspose2d", "trained": True},
        **{"kernel": 4, "stride": 2, "padding": 0, "dilation": 1},
    }


def test_residual_blocks_in_a_row_are_one_part():
    parts = {part["name"]: part for part in recorded(resnet.resnet18(), size=64)["parts"]}
    layer = parts["layer2"]
    assert (layer["kind"], layer["input"], layer["output"]) == ("BasicBlock", [64, 16, 16], [128, 8, 8])
    assert [(block["width"], block["stride"]) for block in layer["blocks"]] == [(128, 2), (128, 1)]
    assert not any(name.startswith("layer2.") for name in parts)


def test_each_block_tells_the_dilation_of_its_spatial_convolution():
    network = resnet.resnet50(replace_stride_with_dilation=[False, True, True])
    parts = {part["name"]: part for part in recorded(network, size=32)["parts"]}
    assert [block["dilation"] for block in parts["layer4"]["blocks"]] == [2, 4, 4]
    assert {(block["kernel"], block["width"]) for block in parts["layer4"]["blocks"]} == {(3, 512)}


def test_each_block_tells_whether_it_is_trained():
    network = resnet.resnet18().requires_grad_(False)
    network.layer3[1].requires_grad_(True)
    parts = {part["name"]: part for part in recorded(network, size=32)["parts"]}
    assert [block["trained"] for block in parts["layer3"]["blocks"]] == [False, True]


def test_window_that_is_no_square_is_refused():
    with pytest.raises(ValueError):
        recorded(nn.Conv2d(3, 4, (3, 5)))
