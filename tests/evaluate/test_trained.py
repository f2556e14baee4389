"""Networks built from their files alone."""

import json

import pytest
import torch
from cards import STAGES, card_of, saved
from safetensors.torch import load_file, save_file

from hw1.evaluate.trained import load_model
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


def spoilt(path, **parameters):
    """The same tensors under a card with other parameters."""
    metadata = card_of("classify@A", 7).metadata()
    metadata["parameters"] = metadata["parameters"] | {f"classify.A.{key}": value for key, value in parameters.items()}
    save_file(load_file(path), path, {"hw1": json.dumps(metadata)})


@pytest.mark.parametrize(
    "parameters, reason",
    [
        ({"hidden": 64}, "weights of another network"),
        ({"hidden": 10**11, "height": 64}, "weights of another network"),  # a petabyte
        ({"head": "none"}, "its parameters describe no network of this project"),
        ({"height": "tall"}, "its parameters describe no network of this project"),
        ({"width": 10**40}, "its parameters describe no network of this project"),
        ({"layers": 3}, "its parameters describe no network of this project"),
        ({"hidden": 10**30}, "its parameters describe no network of this project"),
    ],
)
def test_card_that_does_not_fit_its_weights_is_refused(parameters, reason, path):
    saved("classify@A", path)
    spoilt(path, **parameters)
    with pytest.raises(InputError, match=f"weights.safetensors: {reason}"):
        load_model(path)


def test_network_that_takes_no_such_images_is_refused(path):
    saved("classify@B", path)
    metadata = card_of("classify@B", 7).metadata()
    metadata["parameters"] |= {"classify.B.resize": 8, "classify.B.crop": 8}
    save_file(load_file(path), path, {"hw1": json.dumps(metadata)})
    with pytest.raises(InputError, match="describe no network of this project"):
        load_model(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value, path):
    saved("classify@A", path)
    tensors = load_file(path)
    tensors["last.bias"][3] = value
    save_file(tensors, path, {"hw1": json.dumps(card_of("classify@A", 7).metadata())})
    with pytest.raises(InputError, match=r"weights\.safetensors: some of its weights are no numbers"):
        load_model(path)


@pytest.mark.parametrize("backbone", ["resnet1000", ["resnet18"], None])
def test_unknown_backbone_is_refused(backbone, path):
    saved("finetune@C", path)
    metadata = card_of("finetune@C", 7).metadata()
    metadata["parameters"]["backbone"] = backbone
    save_file(load_file(path), path, {"hw1": json.dumps(metadata)})
    with pytest.raises(InputError, match="describe no network of this project"):
        load_model(path)
