"""The folder for the Hugging Face hub, read back by others: safetensors, torchvision, a YAML reader."""

import json
import re
from dataclasses import replace

import pytest
import torch
import yaml
from cards import STAGES, card_of, saved
from safetensors.torch import load_file

from hw1.classify.classifiers import build_backbone
from hw1.data.classes import LAND_COVER
from hw1.engine.card import save_model
from hw1.engine.weights import save_weights
from hw1.evaluate.trained import load_model
from hw1.predict import hub
from hw1.predict.hub import export_folder
from hw1.predict.measured import Measured
from hw1.run.errors import InputError

NAMES = {str(number): name for number, name in enumerate(LAND_COVER)}
RESULT = Measured("accuracy", 0.69251, 0.659666, 0.723494, 800, "Wilson")


@pytest.fixture(scope="module", params=STAGES)
def exported(request, tmp_path_factory):
    """The stage, its network, its file, and the folder made of that."""
    root = tmp_path_factory.mktemp("hub")
    network = saved(request.param, root / "w.safetensors")
    export_folder(root / "w.safetensors", root / "hub/it")
    return request.param, network, root / "w.safetensors", root / "hub/it"


def front_matter(folder):
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def test_weights_are_the_trained_files_bytes_and_three_lines_on_the_card_load_them(exported, monkeypatch):
    stage, network, trained, folder = exported
    monkeypatch.chdir(folder)
    assert (folder / "model.safetensors").read_bytes() == trained.read_bytes()
    tensors, expected = load_file(folder / "model.safetensors"), network.state_dict()
    assert tensors.keys() == expected.keys() and all(torch.equal(tensors[name], expected[name]) for name in expected)
    assert load_model(folder / "model.safetensors")[1] == card_of(stage, 7)
    names, images = {}, torch.randn(1, 3, 32, 32)
    exec(re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)[1], names)
    with torch.no_grad():
        assert not names["network"].training and torch.equal(names["network"](images), network(images))


def test_config_is_the_weights_card_with_the_names_of_land_cover_and_the_readme_has_no_result(exported):
    stage, _, _, folder = exported
    config, (front, text) = json.loads((folder / "config.json").read_text()), front_matter(folder)
    tiles = stage.startswith("segment")
    assert config == json.loads(json.dumps(card_of(stage, 7).metadata())) | ({"id2label": NAMES} if tiles else {})
    task = "image-segmentation" if tiles else "image-classification"
    assert (front["license"], front["pipeline_tag"]) == ("mit", task)
    assert "No result of exactly these weights is at hand." in text and "%" not in text


@pytest.mark.parametrize(
    "origin, said",
    [
        ("synthetic", "no photographs"),
        ("equivalent by construction", "of public data sets"),
        ("given archive", "Say here what they are and whose"),
    ],
)
def test_card_has_the_result_of_these_weights_and_the_origin_of_their_images(origin, said, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "measured_of", lambda *_: RESULT)
    monkeypatch.setattr(hub, "training_of", lambda *_: {"commit": "abc", "device": ""})
    network = saved("finetune@C", tmp_path / "w.safetensors")
    save_model(network, tmp_path / "w.safetensors", replace(card_of("finetune@C"), origin=origin))
    export_folder(tmp_path / "w.safetensors", tmp_path / "out")
    _, text = front_matter(tmp_path / "out")
    assert said in text and text.endswith("\nRecorded of the training:\n\n- commit: abc\n")
    assert "Measured on 800 validation images: accuracy 69.3 % (66.0 to 72.3)." in text


def test_folder_is_written_whole_or_not_at_all_and_over_nothing(tmp_path, monkeypatch):
    saved("finetune@C", tmp_path / "w.safetensors")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file"):
        export_folder(tmp_path / "w.safetensors", tmp_path / "file")
    monkeypatch.setattr(hub.json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_folder(tmp_path / "w.safetensors", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "w.safetensors"]


@pytest.mark.parametrize("stage", ["pretrain@byol", "start@P1B", "initialise"])
def test_start_of_a_training_is_refused_in_a_line_that_says_what_to_take(stage, tmp_path):
    weights = tmp_path / "w.safetensors"
    save_weights(build_backbone("resnet10"), weights, {"stage": stage, "network": "resnet10", "parameters": {}})
    with pytest.raises(InputError, match=f"w.safetensors: weights of {stage}, no trained network"):
        export_folder(weights, tmp_path / "out")
    assert not (tmp_path / "out").exists()
