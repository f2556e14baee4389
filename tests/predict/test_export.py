"""ONNX files against PyTorch; which of the two forms a destination's name asks for."""

import json
import sys

import numpy as np
import pytest
import torch
from cards import STAGES, card_of, saved

from hw1.images import input as input_module
from hw1.images.input import normalise
from hw1.predict import export as module
from hw1.predict.export import export
from hw1.predict.model import Predictor
from hw1.run.errors import InputError

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("stage", STAGES)
def test_exported_network_gives_pytorchs_scores_of_uint8_images(stage, tmp_path):
    network = saved(stage, tmp_path / "w.safetensors")
    input_module._mean_and_std.cache_clear()  # as the command begins
    card, difference = export(tmp_path / "w.safetensors", tmp_path / "w.onnx")
    assert card == card_of(stage, 7) and difference < 1e-4
    images = torch.randint(0, 256, (5, 3, card.input_side, card.input_side), dtype=torch.uint8)
    session = onnxruntime.InferenceSession(tmp_path / "w.onnx")
    (scores,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        expected = network(normalise(images)).numpy()
    assert np.allclose(scores, expected, atol=1e-4 * np.abs(expected).max())
    said = json.loads(session.get_modelmeta().custom_metadata_map["hw1"])
    assert said["stage"] == stage and said["input_size"] == [3, card.input_side, card.input_side]


def test_file_that_does_not_agree_is_not_written(tmp_path, monkeypatch):
    saved("classify@A", tmp_path / "w.safetensors")
    monkeypatch.setattr(module, "_difference", lambda *_: 0.5)
    with pytest.raises(InputError, match=r"w\.onnx: its scores differ from PyTorch's by 0.5"):
        export(tmp_path / "w.safetensors", tmp_path / "w.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["export", *map(str, arguments)])
    module.main()


def test_name_without_an_ending_is_a_folder_whose_weights_predict_and_other_endings_are_refused(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    saved("finetune@C", tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"w\.pt: ends in \.pt; give a name that ends in \.onnx, or a folder"):
        command(monkeypatch, "w.safetensors", "w.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
    command(monkeypatch, "w.safetensors", "hub/finetune-C/")
    names = {path.name for path in (tmp_path / "hub/finetune-C").iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors"}
    told = "hub/finetune-C: resnet10 of finetune@C; No result of exactly these weights is at hand.\n"
    assert capsys.readouterr().out == told
    assert Predictor.load(tmp_path / "hub/finetune-C/model.safetensors", "finetune").card == card_of("finetune@C", 7)
