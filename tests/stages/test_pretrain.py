"""Where the supervised backbone of settings B and D comes from, and what is said when it cannot be had."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from closure import ROOT

from hw1.classify.classifiers import build_backbone
from hw1.data.arrays import GIVEN_WEIGHTS, Manifest
from hw1.engine.weights import load_weights, read_metadata, save_weights
from hw1.run.errors import InputError
from stages import pretrain


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A root with the quick preset, office, mini without labels, and the weights every backbone starts from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    shutil.copy(ROOT / "presets/quick.yaml", "params.yaml")
    (tmp_path / "mini").mkdir()
    np.save("mini/train_images.npy", np.zeros((4, 32, 32, 3), np.uint8))
    Manifest("given archive", 32, 32, "bicubic", 0, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], []).save(tmp_path / "mini")
    (tmp_path / "office").mkdir()
    for split in ("train", "validation"):
        np.save(f"office/{split}_images.npy", np.zeros((4, 32, 32, 3), np.uint8))
        np.save(f"office/{split}_labels.npy", np.zeros(4, np.int64))
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    Manifest("given archive", 32, 32, "bicubic", 1, names, names).save(tmp_path / "office")
    save_weights(build_backbone("resnet10"), tmp_path / "scratch.safetensors", {})
    return tmp_path


def supervised(monkeypatch):
    inputs, outputs = "--data mini --probe office --start scratch.safetensors", "--history h.csv --metrics m.json"
    arguments = f"supervised {inputs} --out b.safetensors {outputs}"
    monkeypatch.setattr(sys, "argv", ["pretrain", *arguments.split()])
    pretrain.main()


def test_given_weights_are_the_backbone_and_nothing_is_trained(project, monkeypatch):
    torch.manual_seed(7)
    given = build_backbone("resnet10")
    classifier = {"fc.weight": torch.ones(1000, 512), "fc.bias": torch.ones(1000)}  # torchvision's, not wanted
    torch.save({**given.state_dict(), **classifier}, project / "mini" / GIVEN_WEIGHTS)
    supervised(monkeypatch)
    backbone = build_backbone("resnet10")
    load_weights(backbone, project / "b.safetensors")
    assert all(torch.equal(tensor, given.state_dict()[name]) for name, tensor in backbone.state_dict().items())
    assert (project / "h.csv").read_text() == "epoch,lr,train_loss,train_accuracy,knn_office,linear_office,rankme\n"
    numbers = {"knn_office": 1.0, "linear_office": 1.0, "rankme": pytest.approx(1, abs=0.01)}  # one class, one picture
    numbers |= {f"{name}_at_start": value for name, value in numbers.items()}
    assert json.loads((project / "m.json").read_text()) == numbers
    assert read_metadata(project / "b.safetensors")["network"] == "resnet10"


def test_weights_of_another_network_are_refused_with_an_example(project, monkeypatch):
    torch.save(build_backbone("resnet34").state_dict(), project / "mini" / GIVEN_WEIGHTS)
    with pytest.raises(InputError, match=r"mini/pretrain_model_SL\.pt: no weights of ResNet10, which has no"):
        supervised(monkeypatch)
    assert not any((project / name).exists() for name in ("b.safetensors", "h.csv", "m.json"))


def test_without_labels_and_weights_it_says_what_to_provide(project, monkeypatch):
    with pytest.raises(InputError) as error:
        supervised(monkeypatch)
    assert str(error.value) == (
        "pretrain.supervised (settings B and D): the archive has neither pretrain_model_SL.pt nor "
        "p2_data/mini/train.csv; add one of them, set data.weights, or run the other stages with "
        "`dvc repro --keep-going`"
    )
    assert not (project / "b.safetensors").exists()
