"""The starts of the networks of problems 1 and 3: ImageNet's weights, those of mini's labels, or none."""

import csv
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from closure import ROOT
from tiny_project import tiny

from hw1.classify.classifiers import build_classifier, convnext_of_mini
from hw1.data.arrays import Manifest
from hw1.engine.weights import load_start, load_tensors, read_metadata, save_tensors
from hw1.run.errors import InputError
from hw1.run.parameters.params import ConvNeXt, load
from hw1.segment.segmenters import build_segmenter, segmenter_of_mini
from stages import start

PARAMS = load(ROOT / "presets/quick.yaml")
SMALL = {"P3A": replace(PARAMS.segment.A, width=0.0625), "P3B": replace(PARAMS.segment.B, width=0.25)}


def trained(network):
    """The network after its weights and statistics have moved."""
    network.train()(torch.randn(4, 3, 64, 64))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)
    return network


def test_convnext_takes_all_but_the_classifier():
    network, start_of = convnext_of_mini(PARAMS.classify.B, 20)
    trained(network)
    taken = build_classifier(PARAMS.classify.B, 10, start_of())
    for name, tensor in network.features.state_dict().items():
        assert torch.equal(taken.features.state_dict()[name], tensor), name
    assert taken(torch.randn(2, 3, 48, 48)).shape == (2, 10)


@pytest.mark.parametrize("model", SMALL)
def test_segmenter_begins_with_the_features_that_told_minis_classes_apart(model):
    network, start_of = segmenter_of_mini(SMALL[model], 20)
    assert trained(network)(torch.randn(2, 3, 64, 64)).shape == (2, 20)
    taken, fresh = (build_segmenter(SMALL[model], 7, tensors).state_dict() for tensors in (start_of(), {}))
    there = {name.rpartition("network.")[2]: tensor for name, tensor in network.state_dict().items()}
    shared = {"P3A": ("features.", "fc6.", "fc7."), "P3B": ("conv1.", "bn1.", "layer")}[model]
    names = [name for name in there if name.startswith(shared)]
    assert len(names) > 25
    for name in names:
        name_taken = name if model == "P3A" else f"network.backbone.{name}"
        assert torch.equal(taken[name_taken], there[name]), name
    others = [name for name in fresh if name.removeprefix("network.backbone.") not in names]
    assert others and all(taken[name].shape == fresh[name].shape for name in others)


def test_segmenter_takes_torchvisions_published_weights_too():
    from torchvision.models import resnet50

    published = resnet50().state_dict()
    taken = build_segmenter(replace(PARAMS.segment.B, width=1.0), 7, published).state_dict()
    assert torch.equal(taken["network.backbone.layer4.2.conv3.weight"], published["layer4.2.conv3.weight"])


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the stage for a model on a prepared mini of 12 images of ``classes`` (0: no labels)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HW1_TRACKING", "off")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    torch.set_num_threads(1)

    def ran(model, weights, classes=3, **more):
        tree = yaml.safe_load(tiny())
        task, _, key = start.MODELS[model].partition(".")
        tree[task][key] |= {"weights": weights} | more
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
        mini = tmp_path / "mini"
        mini.mkdir(exist_ok=True)
        names = [f"{index}.jpg" for index in range(12)]
        Manifest("synthetic", 32, 32, "bicubic", classes, names, []).save(mini)
        images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
        np.save(mini / "train_images.npy", images)
        if classes:
            np.save(mini / "train_labels.npy", np.arange(12) % classes)
        imagenet = {"there": torch.ones(2)} if weights == "imagenet" else {}
        save_tensors(imagenet, tmp_path / "imagenet.safetensors", {})
        command = f"start {model} --data mini --imagenet imagenet.safetensors --out out.safetensors --history h.csv"
        monkeypatch.setattr(sys, "argv", command.split())
        start.main()
        return load_tensors(tmp_path / "out.safetensors"), list(csv.DictReader(open("h.csv")))

    return ran


@pytest.mark.parametrize("model", start.MODELS)
def test_weights_of_minis_labels_are_trained_and_can_be_started_from(model, run, tmp_path):
    tensors, rows = run(model, "mini")
    assert [row["epoch"] for row in rows] == ["1", "2"] and 0 <= float(rows[1]["train_accuracy"]) <= 1
    section = load(tmp_path / "params.yaml").starting[model]
    assert load_start(tmp_path / "out.safetensors", "mini").keys() == tensors.keys()
    build = build_classifier if isinstance(section, ConvNeXt) else build_segmenter
    build(section, 7, tensors)
    made = read_metadata(tmp_path / "out.safetensors")
    assert made["stage"] == f"start@{model}" and made["parameters"][f"pretrain.start.{model}.epochs"] == 2


@pytest.mark.parametrize("weights, names", [("imagenet", ["there"]), ("none", [])])
def test_other_weights_are_passed_on_and_nothing_is_trained(weights, names, run, monkeypatch):
    monkeypatch.setattr(start, "fit", None)
    tensors, rows = run("P3A", weights, width=1.0)
    assert (list(tensors), rows) == (names, [])


def test_mini_without_labels_says_what_to_provide(run):
    warnings.simplefilter("error")  # torch warns of a classifier of no classes: none is built
    with pytest.raises(InputError, match=r"weights: mini \(start@P1B\): .* no p2_data/mini/train\.csv; add it, or set"):
        run("P1B", "mini", classes=0)
