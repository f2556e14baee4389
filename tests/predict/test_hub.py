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
from hw1.engine.card import save_model
from hw1.engine.weights import save_weights
from hw1.evaluate.trained import load_model
from hw1.predict import hub
from hw1.predict.hub import export_folder
from hw1.predict.measured import Measured
from hw1.run.errors import InputError

RESULT = Measured("accuracy", 0.69251, 0.659666, 0.723494, 800, "Wilson")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """By stage: the folder, written once."""
    made = {}

    def folder_of(stage):
        if stage not in made:
            root = tmp_path_factory.mktemp("hub")
            saved(stage, root / "w.safetensors")
            export_folder(root / "w.safetensors", root / "hub/it")
            made[stage] = root / "hub/it"
        return made[stage]

    return folder_of


def front_matter(folder):
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


@pytest.mark.parametrize("stage", STAGES)
def test_weights_are_the_trained_files_bytes_and_three_lines_on_the_card_load_them(stage, folders, monkeypatch):
    folder = folders(stage)
    monkeypatch.chdir(folder)
    trained = folder.parent.parent / "w.safetensors"
    assert (folder / "model.safetensors").read_bytes() == trained.read_bytes()
    network = saved(stage, trained.with_name("again.safetensors"))
    tensors, expected = load_file(folder / "model.safetensors"), network.state_dict()
    assert tensors.keys() == expected.keys() and all(torch.equal(tensors[name], expected[name]) for name in expected)
    assert load_model(folder / "model.safetensors")[1] == card_of(stage, 7)
    names, images = {}, torch.randn(1, 3, 32, 32)
    exec(re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)[1], names)
    with torch.no_grad():
        assert not names["network"].training and torch.equal(names["network"](images), network(images))


def test_config_is_the_card_of_the_weights_with_the_names_of_the_classes(folders):
    small, tiles = (json.loads((folders(of) / "config.json").read_text()) for of in ("classify@A", "segment@B"))
    assert small == json.loads(json.dumps(card_of("classify@A", 7).metadata()))
    assert tiles["id2label"]["4"] == "water" and tiles["parameters"] == card_of("segment@B").parameters


@pytest.mark.parametrize("stage", STAGES)
def test_card_without_a_result_has_no_number_of_one(stage, folders):
    front, text = front_matter(folders(stage))
    task = "image-segmentation" if stage.startswith("segment") else "image-classification"
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
