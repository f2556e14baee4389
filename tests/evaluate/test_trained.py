"""Networks built from their files alone, and what is recorded of one, against layers written down by hand."""

import json

import pytest
import torch
from cards import STAGES, card_of, saved
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import resnet

from hw1.evaluate.trained import architecture, load_model
from hw1.run.errors import InputError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("stage", STAGES)
def test_file_alone_gives_the_network_that_was_saved(stage, path):
    network = saved(stage, path)
    loaded, card = load_model(path)
    assert card == card_of(stage, 7)
    images = torch.randn(2, 3, card.input_side, card.input_side)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images), network(images))
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert [name for name, parameter in loaded.named_parameters() if parameter.requires_grad] == trained


NO_NETWORK = "its parameters describe no network of this project"


@pytest.mark.parametrize(
    "stage, parameters, reason",
    [
        ("classify@A", {"hidden": 64}, "weights of another network"),
        ("classify@A", {"hidden": 10**11, "height": 64}, "weights of another network"),  # a petabyte
        ("classify@A", {"head": "none"}, NO_NETWORK),
        ("classify@A", {"height": "tall"}, NO_NETWORK),
        ("classify@A", {"width": 10**40}, NO_NETWORK),
        ("classify@A", {"layers": 3}, NO_NETWORK),
        ("classify@A", {"hidden": 10**30}, NO_NETWORK),
        ("classify@B", {"resize": 8, "crop": 8}, NO_NETWORK),  # it takes no such images
        ("finetune@C", {"backbone": "resnet1000"}, NO_NETWORK),
        ("finetune@C", {"backbone": ["resnet18"]}, NO_NETWORK),
        ("finetune@C", {"backbone": None}, NO_NETWORK),
    ],
)
def test_card_that_does_not_fit_its_weights_is_refused(stage, parameters, reason, path):
    saved(stage, path)
    prefix = "" if stage == "finetune@C" else f"{stage.replace('@', '.')}."
    metadata = card_of(stage, 7).metadata()
    metadata["parameters"] |= {f"{prefix}{key}": value for key, value in parameters.items()}
    save_file(load_file(path), path, {"hw1": json.dumps(metadata)})
    with pytest.raises(InputError, match=rf"weights\.safetensors: {reason}"):
        load_model(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value, path):
    saved("classify@A", path)
    tensors = load_file(path)
    tensors["last.bias"][3] = value
    save_file(tensors, path, {"hw1": json.dumps(card_of("classify@A", 7).metadata())})
    with pytest.raises(InputError, match=r"weights\.safetensors: some of its weights are no numbers"):
        load_model(path)


# -- layers


def recorded(network, size=8):
    return architecture(network, torch.zeros(1, 3, size, size))


def small():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.25), nn.Linear(64, 5)
    )


def test_parts_stand_in_order_with_the_sizes_of_one_image_in_plain_json():
    network = recorded(small())
    assert json.loads(json.dumps(network)) == network
    assert (network["input"], network["output"]) == ([3, 8, 8], [5])
    parts = network["parts"]
    assert [(part["kind"], part["input"], part["output"], part.get("dropped")) for part in parts] == [
        ("Conv2d", [3, 8, 8], [4, 4, 4], None),
        ("BatchNorm2d", [4, 4, 4], [4, 4, 4], None),
        ("Flatten", [4, 4, 4], [64], None),
        ("Dropout", [64], [64], 0.25),
        ("Linear", [64], [5], None),
    ]
    assert {"kernel": 3, "stride": 2, "padding": 1, "dilation": 1}.items() <= parts[0].items()


def test_layer_is_trained_if_one_of_its_parameters_is():
    network = small()
    network[0].requires_grad_(False)
    network[4].weight.requires_grad_(False)  # its bias is trained
    assert [part.get("trained") for part in recorded(network)["parts"]] == [False, True, None, None, True]


def test_network_stays_as_it_was_also_where_the_image_does_not_fit():
    network = small()
    network[1].running_mean.fill_(3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for mode in (True, False):
        network.train(mode)
        recorded(network)
        assert network.training == network[1].training == mode
    with pytest.raises(RuntimeError):
        recorded(network, size=16)  # the linear layer takes 64 features
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
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


def test_residual_blocks_in_a_row_are_one_part_and_each_tells_whether_it_is_trained():
    network = resnet.resnet18().requires_grad_(False)
    network.layer2[1].requires_grad_(True)
    parts = {part["name"]: part for part in recorded(network, size=64)["parts"]}
    layer = parts["layer2"]
    assert (layer["kind"], layer["input"], layer["output"]) == ("BasicBlock", [64, 16, 16], [128, 8, 8])
    blocks = [(block["width"], block["stride"], block["trained"]) for block in layer["blocks"]]
    assert blocks == [(128, 2, False), (128, 1, True)]
    assert not any(name.startswith("layer2.") for name in parts)


def test_each_block_tells_the_dilation_of_its_spatial_convolution():
    network = resnet.resnet50(replace_stride_with_dilation=[False, True, True])
    parts = {part["name"]: part for part in recorded(network, size=32)["parts"]}
    assert [block["dilation"] for block in parts["layer4"]["blocks"]] == [2, 4, 4]
    assert {(block["kernel"], block["width"]) for block in parts["layer4"]["blocks"]} == {(3, 512)}


def test_window_that_is_no_square_is_refused():
    with pytest.raises(ValueError):
        recorded(nn.Conv2d(3, 4, (3, 5)))
