"""The folder for the Hugging Face hub, read back; a result only where it was measured of these very weights."""

import json
import re

import pytest
import torch
import yaml
from cards import STAGES, card_of, saved

from hw1.classify.classifiers import build_backbone
from hw1.engine.weights import save_weights
from hw1.evaluate.trained import load_model
from hw1.predict import hub
from hw1.predict.hub import export_folder, measured_of
from hw1.run.errors import InputError
from hw1.run.files import dvc_hash

WEIGHTS = "models/finetune/C/weights.safetensors"
INTERVALS = """problem,model,measure,value,low,high,images,method
p1,C,accuracy,0.1,0.1,0.1,9,Wilson
p2,B,accuracy,0.8,0.7,0.9,9,Wilson
p2,C,accuracy,0.6925,0.659666,0.723494,800,Wilson
"""


def front_matter(folder):
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


@pytest.mark.parametrize("stage", STAGES)
def test_folder_has_the_trained_files_bytes_its_card_and_code_that_loads_it(stage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = saved(stage, tmp_path / "w.safetensors")
    export_folder(tmp_path / "w.safetensors", tmp_path / "hub/it")
    monkeypatch.chdir(tmp_path / "hub/it")
    with open("model.safetensors", "rb") as copy:
        assert copy.read() == (tmp_path / "w.safetensors").read_bytes()
    front, text = front_matter(tmp_path / "hub/it")
    task = "image-segmentation" if stage.startswith("segment") else "image-classification"
    assert (front["license"], front["pipeline_tag"]) == ("mit", task) and "model-index" not in front
    assert "No result of exactly these weights is at hand." in text and "95 %" not in text
    with open("config.json") as config:
        assert json.load(config) == json.loads(json.dumps(card_of(stage).metadata()))
    names = {}
    exec(re.search(r"```python\n(.*?)```", text, re.S)[1], names)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert not names["network"].training and torch.equal(names["network"](images), expected(images))


@pytest.mark.parametrize("place", ["file", "full", "link"])
def test_nothing_that_lies_there_is_written_over(place, tmp_path):
    saved("finetune@C", tmp_path / "w.safetensors")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(InputError, match=place):
        export_folder(tmp_path / "w.safetensors", tmp_path / place)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_folder_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    saved("finetune@C", tmp_path / "w.safetensors")
    monkeypatch.setattr(hub, "model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_folder(tmp_path / "w.safetensors", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("stage", ["pretrain@byol", "start@P1B", "initialise"])
def test_start_of_a_training_is_refused(stage, tmp_path):
    weights = tmp_path / "w.safetensors"
    save_weights(build_backbone("resnet10"), weights, {"stage": stage, "network": "resnet10", "parameters": {}})
    with pytest.raises(InputError, match=r"w\.safetensors: no trained network of this project"):
        export_folder(weights, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- results


def entries(root, *paths):
    return [{"path": path, "hash": "md5", "md5": dvc_hash(root / path)} for path in paths]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose lock file says that setting C's weights were scored."""
    monkeypatch.chdir(tmp_path)
    for folder in ("models/finetune/B", "models/finetune/C", "plots/predictions", "plots/statistics"):
        (tmp_path / folder).mkdir(parents=True)
    saved("finetune@C", tmp_path / WEIGHTS)
    (tmp_path / "plots/predictions/p2.csv").write_text("image,label,C\n0.jpg,0,0\n")
    (tmp_path / "plots/statistics/intervals.csv").write_text(INTERVALS)
    stages = {
        "evaluate@p2": {
            "cmd": "evaluate",
            "deps": entries(tmp_path, "models/finetune"),
            "params": {"params.yaml": {"evaluate.keep": "last"}},
            "outs": entries(tmp_path, "plots/predictions/p2.csv"),
        },
        "compare": {
            "cmd": "compare",
            "deps": entries(tmp_path, "plots/predictions"),
            "outs": entries(tmp_path, "plots/statistics"),
        },
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    return tmp_path


def test_result_of_a_copy_of_the_weights_stands_in_front_matter_and_text(project):
    (project / "copy.safetensors").write_bytes((project / WEIGHTS).read_bytes())
    export_folder(project / "copy.safetensors", project / "out")
    front, text = front_matter(project / "out")
    entry = {
        "task": {"type": "image-classification"},
        "dataset": {"type": "hw1", "name": "synthetic", "split": "validation"},
        "metrics": [{"type": "accuracy", "value": 0.6925}],
    }
    assert front["model-index"] == [{"name": "hw1-finetune-C", "results": [entry]}]
    assert "accuracy 69.2 %, 95 % interval 66.0 to 72.3 (Wilson), on 800 validation images." in text
    assert load_model(project / "out/model.safetensors")[1] == card_of("finetune@C")


def test_other_weights_of_the_same_card_have_no_result(project):
    content = bytearray((project / WEIGHTS).read_bytes())
    content[-1] ^= 1  # the last number's sign or exponent
    (project / "other.safetensors").write_bytes(content)
    assert measured_of(project / "other.safetensors", card_of("finetune@C")) is None


@pytest.mark.parametrize(
    "path",
    [
        *(WEIGHTS, "models/finetune/B/weights.safetensors", "plots/statistics/intervals.csv"),
        *("plots/predictions/p2.csv", "plots/predictions/p1.csv"),
    ],
)
def test_chain_with_a_link_of_another_run_gives_no_result(path, project):
    with open(project / path, "a") as file:
        file.write("\n")
    assert measured_of(project / WEIGHTS, card_of("finetune@C")) is None


@pytest.mark.parametrize("stage", ["evaluate@p2", "compare"])
def test_stage_that_has_not_run_gives_no_result(stage, project):
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    del lock["stages"][stage]
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert measured_of(project / WEIGHTS, card_of("finetune@C")) is None


@pytest.mark.parametrize("text", [None, "", "stages: 3", "{"])
def test_without_a_lock_file_of_the_pipeline_there_is_no_result(text, project):
    (project / "dvc.lock").unlink()
    if text is not None:
        (project / "dvc.lock").write_text(text)
    assert measured_of(project / WEIGHTS, card_of("finetune@C")) is None
