"""The folder for the Hugging Face hub, read back by others: safetensors, torchvision, a YAML reader."""

import importlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from cards import STAGES, card_of, saved
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import interpolate

from hw1.classify.classifiers import build_backbone
from hw1.engine.card import save_model
from hw1.engine.weights import save_weights
from hw1.evaluate.trained import load_model
from hw1.predict import hub
from hw1.predict.hub import export_folder
from hw1.predict.measured import Measured
from hw1.predict.model import Predictor
from hw1.run.errors import InputError
from hw1.segment.segmenters import build_segmenter

TORCHVISION = ["classify@B", "finetune@C", "finetune@D", "segment@B, width 1"]
RESULT = Measured("accuracy", 0.69251, 0.659666, 0.723494, 800, "Wilson")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """By stage: the folder, written once, with a picture beside its files."""
    made = {}

    def of(name):
        if name not in made:
            stage, root = name.partition(",")[0], tmp_path_factory.mktemp("hub")
            network = saved(stage, root / "w.safetensors")
            if name != stage:  # torchvision's own width
                card = card_of(stage, resize=32)  # tiles are stored as they are resized
                card = replace(card, parameters=card.parameters | {"segment.B.width": 1.0})
                network = build_segmenter(card.training, 7)
                save_model(network, root / "w.safetensors", card)
            export_folder(root / "w.safetensors", root / "hub/it")
            pixels = np.random.default_rng(1).integers(0, 256, (50, 41, 3), np.uint8)
            Image.fromarray(pixels).save(root / "hub/it/picture.jpg")
            made[name] = root / "hub/it"
        return made[name]

    return of


def config_in(folder):
    return json.loads((folder / "config.json").read_text())


def front_matter(folder):
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def by_the_project(folder):
    """Logits of the picture (1, K) or (1, 7, S, S), by the command's own network."""
    weights = folder / "model.safetensors"
    predictor = Predictor.load(weights, load_model(weights)[1].task, "cpu")
    with Image.open(folder / "picture.jpg") as picture:
        logits = predictor.logits([predictor.stored(picture.convert("RGB"))])
    return logits[:, : predictor.card.classes]


def built(tree):
    """What a tree of calls in config.json stands for."""
    if isinstance(tree, str):
        module, _, name = tree.rpartition(".")
        return getattr(importlib.import_module(module), name)
    if isinstance(tree, list):
        return [built(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    given = tree["arguments"]
    if isinstance(given, list):
        return built(tree["call"])(*built(given))
    return built(tree["call"])(**{key: built(value) for key, value in given.items()})


def prepared(picture, config):
    """(1, 3, S, S) float32, by PIL, torch and NumPy as config.json says."""
    for step in config["preparation"]:
        if "resize" not in step:
            edge = round((picture.width - step["centre_crop"]) / 2)
            picture = picture.crop((edge, edge, edge + step["centre_crop"], edge + step["centre_crop"]))
        elif step["by"] == "PIL":
            picture = picture.resize((step["resize"],) * 2, Image.Resampling[step["filter"].upper()])
        else:
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
            resized = interpolate(pixels, (step["resize"],) * 2, mode=step["filter"], antialias=True)
            picture = Image.fromarray(resized[0].permute(1, 2, 0).numpy())
    how = config["normalisation"]
    values = (np.asarray(picture) / how["divide_by"] - how["mean"]) / how["std"]
    return torch.from_numpy(values.transpose(2, 0, 1)[None]).float()


def close(found, expected):
    return torch.allclose(found, expected, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("stage", STAGES)
def test_weights_are_the_trained_files_bytes_and_load_as_it_does(stage, folders):
    folder = folders(stage)
    trained = folder.parent.parent / "w.safetensors"
    assert (folder / "model.safetensors").read_bytes() == trained.read_bytes()
    own = saved(stage, folder.parent.parent / "again.safetensors").state_dict()
    tensors = load_file(folder / "model.safetensors")
    assert tensors.keys() == own.keys() and all(torch.equal(tensors[name], own[name]) for name in own)
    assert load_model(folder / "model.safetensors")[1] == card_of(stage, 7)


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_network_of_the_config_alone_gives_the_projects_logits(name, folders):
    folder = folders(name)
    config = config_in(folder)
    said = config["torchvision"]
    network = built(said)
    for part, call in said["replace"].items():
        setattr(network, part, built(call))
    tensors = {}
    for key, tensor in load_file(folder / "model.safetensors").items():
        old = next((old for old in said["names"] if key.startswith(old)), "")
        tensors[said["names"].get(old, "") + key.removeprefix(old)] = tensor
    network.load_state_dict(tensors)
    with Image.open(folder / "picture.jpg") as picture, torch.no_grad():
        scores = network.eval()(prepared(picture, config))
    scores = scores["out"] if isinstance(scores, dict) else scores
    assert scores.shape[1] == config["num_outputs"]
    assert close(scores[:, : config["num_classes"]], by_the_project(folder))


@pytest.mark.parametrize("name", TORCHVISION)
def test_code_on_the_card_gives_the_projects_logits(name, folders, monkeypatch):
    folder = folders(name)
    monkeypatch.chdir(folder)
    own, torchvisions = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert "hw1" not in torchvisions and len(own.splitlines()) == 3
    names = {}
    exec(torchvisions, names)
    assert close(names["scores"].detach(), by_the_project(folder))


@pytest.mark.parametrize("stage", STAGES)
def test_three_lines_on_the_card_load_the_network(stage, folders, monkeypatch):
    folder = folders(stage)
    monkeypatch.chdir(folder)
    names = {}
    exec(re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)[1], names)
    expected = saved(stage, folder.parent.parent / "again.safetensors")
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert not names["network"].training and torch.equal(names["network"](images), expected(images))


@pytest.mark.parametrize(
    "stage, own", [("classify@A", "SmallCNN"), ("segment@A", "Fcn32s"), ("segment@B", "DeepLabV3")]
)
def test_network_that_torchvision_has_not_is_said_to_be_none_of_its(stage, own, folders):
    config, (front, text) = config_in(folders(stage)), front_matter(folders(stage))
    assert config["torchvision"] is None and config["class"].endswith(f".{own}")
    assert front["library_name"] == "hw1" and "torchvision has no such network" in text
    assert config["parameters"] == card_of(stage).parameters


def test_config_says_what_the_outputs_are(folders):
    small, tiles = config_in(folders("classify@A")), config_in(folders("segment@B"))
    assert (small["num_classes"], small["num_outputs"]) == (7, 128)  # the printed head's
    assert small["input_size"] == [3, 32, 32] and "id2label" not in small
    assert tiles["id2label"]["4"] == "water" and tiles["mask_colours"]["water"] == [0, 0, 255]


@pytest.mark.parametrize("stage", STAGES)
def test_card_without_a_result_has_no_number_of_one(stage, folders):
    front, text = front_matter(folders(stage))
    task = "image-segmentation" if stage.startswith("segment") else "image-classification"
    assert (front["license"], front["pipeline_tag"], front["datasets"]) == ("mit", task, ["hw1-synthetic"])
    assert not front.keys() & {"model-index", "metrics"}
    assert "No result of exactly these weights is at hand." in text and "95 %" not in text


def exported(stage, root, monkeypatch, origin="synthetic", result=None, **parameters):
    """The card of a folder whose weights say other things of themselves, as front matter and text."""
    card = card_of(stage)
    card = replace(card, origin=origin, parameters=card.parameters | parameters)
    monkeypatch.setattr(hub, "measured_of", lambda *_: result)
    network = saved(stage, root / "w.safetensors")
    save_model(network, root / "w.safetensors", card)
    export_folder(root / "w.safetensors", root / "out")
    return front_matter(root / "out")


def test_result_of_these_weights_stands_in_front_matter_and_text(tmp_path, monkeypatch):
    front, text = exported("finetune@C", tmp_path, monkeypatch, result=RESULT)
    (entry,) = front["model-index"]
    assert entry == {
        "name": "hw1-finetune-C",
        "results": [
            {
                "task": {"type": "image-classification"},
                "dataset": {"type": "hw1-synthetic", "name": "synthetic", "split": "validation"},
                "metrics": [{"type": "accuracy", "name": "Accuracy", "value": 0.6925}],
            }
        ],
    }
    assert front["metrics"] == ["accuracy"]
    assert "| Accuracy | 69.3 | 66.0 to 72.3 | 800 |" in text


@pytest.mark.parametrize(
    "stage, origin, parameters, sets",
    [
        ("finetune@C", "equivalent by construction", {}, ["office-home", "mini-imagenet"]),
        ("finetune@C", "equivalent by construction", {"settings.C.backbone": "scratch"}, ["office-home"]),
        ("finetune@C", "equivalent by construction", {"settings.C.backbone": "supervised"}, ["office-home"]),
        ("classify@A", "equivalent by construction", {}, ["cifar100"]),
        ("segment@B", "equivalent by construction", {"segment.B.weights": "none"}, ["deepglobe-land-cover"]),
        ("classify@B", "given archive", {"classify.B.weights": "imagenet"}, ["imagenet-1k"]),
        ("classify@B", "given archive", {}, None),
    ],
)
def test_card_names_the_data_sets_that_the_weights_tell_of(stage, origin, parameters, sets, tmp_path, monkeypatch):
    front, text = exported(stage, tmp_path, monkeypatch, origin, **parameters)
    assert front.get("datasets") == sets
    assert "drawn by a program" not in text


def test_result_on_a_given_archive_is_of_no_known_data_set(tmp_path, monkeypatch):
    imagenet = {"classify.B.weights": "imagenet"}
    front, _ = exported("classify@B", tmp_path, monkeypatch, "given archive", RESULT, **imagenet)
    assert front["model-index"][0]["results"][0]["dataset"]["type"] == "given-archive"


def test_land_cover_is_not_for_decisions_about_land(folders):
    _, text = front_matter(folders("segment@B"))
    assert "Not for decisions about land" in text and "drawn by a program alone" in text


@pytest.mark.parametrize("lies_there", ["file", "full", "link"])
def test_nothing_that_lies_there_is_written_over(lies_there, tmp_path):
    saved("finetune@C", tmp_path / "w.safetensors")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(InputError, match=lies_there):
        export_folder(tmp_path / "w.safetensors", tmp_path / lies_there)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_folder_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    saved("finetune@C", tmp_path / "w.safetensors")
    monkeypatch.setattr(hub, "card_of_folder", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_folder(tmp_path / "w.safetensors", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("stage", ["pretrain@byol", "start@P1B", "initialise"])
def test_start_of_a_training_is_refused_in_a_line_that_says_what_to_take(stage, tmp_path):
    weights = tmp_path / "w.safetensors"
    save_weights(build_backbone("resnet10"), weights, {"stage": stage, "network": "resnet10", "parameters": {}})
    with pytest.raises(InputError, match=f"w.safetensors: weights of {stage}, which say neither their data"):
        export_folder(weights, tmp_path / "out")
    assert not (tmp_path / "out").exists()
