"""A result is taken only where it was measured of these very weights."""

import pytest
import yaml
from cards import card_of, saved

from hw1.predict.measured import Measured, measured_of, training_of
from hw1.run.files import dvc_hash
from hw1.run.tracking.whereabouts import keep_record

WEIGHTS = "models/finetune/C/weights.safetensors"
INTERVALS = """problem,model,measure,value,low,high,images,method
p1,C,accuracy,0.1,0.1,0.1,9,Wilson
p2,B,accuracy,0.8,0.7,0.9,9,Wilson
p2,C,accuracy,0.6925,0.659666,0.723494,800,Wilson
"""


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
    evaluate = {"cmd": "evaluate", "deps": entries(tmp_path, "models/finetune")}
    evaluate |= {"params": {"params.yaml": {"evaluate.keep": "last"}}}
    evaluate |= {"outs": entries(tmp_path, "plots/predictions/p2.csv")}
    compare = {"cmd": "compare", "deps": entries(tmp_path, "plots/predictions")}
    compare |= {"outs": entries(tmp_path, "plots/statistics")}
    stages = {"evaluate@p2": evaluate, "compare": compare}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    return tmp_path


def test_result_is_the_interval_of_the_same_problem_and_model_for_a_copy_of_the_weights_too(project):
    (project / "copy.safetensors").write_bytes((project / WEIGHTS).read_bytes())
    for path in (WEIGHTS, "copy.safetensors"):
        found = measured_of(project / path, card_of("finetune@C"))
        assert found == Measured("accuracy", 0.6925, 0.659666, 0.723494, 800, "Wilson")


def test_other_weights_of_the_same_card_have_none(project):
    content = bytearray((project / WEIGHTS).read_bytes())
    content[-1] ^= 1  # the last number's sign or exponent
    (project / "other.safetensors").write_bytes(content)
    assert measured_of(project / "other.safetensors", card_of("finetune@C")) is None


@pytest.mark.parametrize(
    "path",
    [
        *(WEIGHTS, "models/finetune/B/weights.safetensors", "plots/predictions/p2.csv", "plots/predictions/p1.csv"),
        "plots/statistics/intervals.csv",
    ],
)
def test_chain_with_a_link_of_another_run_gives_none(path, project):
    with open(project / path, "a") as file:
        file.write("\n")
    assert measured_of(project / WEIGHTS, card_of("finetune@C")) is None


@pytest.mark.parametrize("stage", ["evaluate@p2", "compare"])
def test_stage_that_has_not_run_gives_none(stage, project):
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    del lock["stages"][stage]
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert measured_of(project / WEIGHTS, card_of("finetune@C")) is None


@pytest.mark.parametrize("text", [None, "", "stages: 3", "{"])
def test_without_a_lock_file_of_the_pipeline_there_is_none(text, project):
    (project / "dvc.lock").unlink()
    if text is not None:
        (project / "dvc.lock").write_text(text)
    assert measured_of(project / WEIGHTS, card_of("finetune@C")) is None


@pytest.fixture
def trained(project, monkeypatch):
    """The project with the record of the training."""
    monkeypatch.setenv("DVC_ROOT", str(project))
    history = project / "models/history/finetune/C.csv"
    history.parent.mkdir(parents=True)
    history.write_text("epoch\n1\n")
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    outs = entries(project, "models/finetune/C", "models/history/finetune/C.csv")
    lock["stages"]["finetune@C"] = {"cmd": "finetune", "outs": outs}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    keep_record(history, {"device": "NVIDIA H100", "CPU": "Xeon"})
    return history


def test_device_is_that_of_the_record_of_this_training(project, trained):
    assert training_of(project / WEIGHTS, card_of("finetune@C")) == {"device": "NVIDIA H100", "CPU": "Xeon"}
    trained.write_text("epoch\n2\n")
    keep_record(trained, {"device": "another"})
    assert training_of(project / WEIGHTS, card_of("finetune@C")) == {}


def test_without_a_record_no_device_is_told(project):
    assert training_of(project / WEIGHTS, card_of("finetune@C")) == {}
