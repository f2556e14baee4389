"""What weights say of themselves, and what is refused."""

import dataclasses
import json

import pytest
import torch
from cards import card_of, used
from closure import ROOT
from safetensors.torch import save_file
from torch import nn

from hw1.engine.card import NORMALISATION, RAW, Card, read_card, save_model
from hw1.engine.weights import read_metadata
from hw1.run.errors import InputError
from hw1.run.parameters.params import flat, load


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize(
    "stage, network, side, steps",
    [
        ("classify@A", "small_cnn", 32, []),
        ("classify@B", "convnext_zepto", 32, [{"resize": 33, "filter": "bicubic"}, {"centre_crop": 32}]),
        ("finetune@C", "resnet10", 32, []),
        ("segment@B", "deeplabv3_resnet50", 32, []),
    ],
)
def test_metadata_names_network_classes_input_and_its_preparation(stage, network, side, steps, path):
    save_model(nn.Linear(1, 1), path, card_of(stage))
    assert read_card(path) == card_of(stage)
    metadata = read_metadata(path)
    assert metadata["network"] == network and metadata["classes"] == 7
    assert metadata["input_size"] == [3, side, side]
    stored = {"resize": 36, "filter": "bilinear" if stage == "segment@B" else "bicubic"}
    assert metadata["preparation"] == [stored, {"centre_crop": 32}, *steps]
    assert metadata["normalisation"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert metadata["parameters"] == used(stage)


WHOLE = {**vars(card_of("classify@A")), "normalisation": NORMALISATION}


@pytest.mark.parametrize(
    "metadata, reason",
    [
        ({}, "stage: missing"),
        ({"stage": "pretrain@byol", "network": "resnet18", "parameters": {}}, "epoch: missing"),
        (WHOLE | {"stage": "classify@C"}, "its stage or its parameters are not said"),
        (WHOLE | {"parameters": [1]}, "its stage or its parameters are not said"),
        (WHOLE | {"epoch": "five"}, "epoch: got 'five'"),
        (WHOLE | {"crop": 10**9}, "crop: got 1000000000"),
        (WHOLE | {"classes": 0}, "classes: got 0"),
        (WHOLE | {"crop": 32, "resize": 16}, "crop: got 32, allowed: at most resize, 16"),
        (WHOLE | {"stage": "segment@A", "classes": 9}, "classes: got 9, a segmenter has 7"),
        (WHOLE | {"normalisation": {"mean": [0, 0, 0], "std": [1, 1, 1]}}, "it was trained with another normalisation"),
        (WHOLE | {"normalisation": RAW}, "it was trained with another normalisation"),
    ],
)
def test_file_that_says_something_else_is_refused(metadata, reason, path):
    save_file({"weight": torch.ones(1)}, path, {"hw1": json.dumps(metadata)})
    with pytest.raises(InputError, match=rf"weights\.safetensors: no trained network of this project \({reason}"):
        read_card(path)


def test_training_of_a_setting_is_its_own():
    params = load(ROOT / "presets/code.yaml")
    used = flat(params, "lr", "backbone", "finetune", "settings.E")
    card = Card("finetune@E", 1, 7, "made up", 128, 128, "bilinear", used)
    own = params.finetuning("E")
    assert vars(card.training) == {key: value for key, value in vars(own).items() if key != "lr"}


def test_card_of_raw_levels_comes_back(path):
    parameters = used("classify@A") | {"classify.A.normalise": False}
    card = dataclasses.replace(card_of("classify@A", 7), parameters=parameters)
    save_file({"x": torch.zeros(1)}, path, {"hw1": json.dumps(card.metadata())})
    assert read_card(path) == card and card.metadata()["normalisation"] == RAW
