"""The models that dvc.yaml offers to others, as DVC reads them."""

from pathlib import Path

import pytest
import yaml
from closure import ROOT
from dvc.repo import Repo
from dvc.repo.artifacts import check_name_format

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
ARTIFACTS = yaml.safe_load((ROOT / "dvc.yaml").read_text())["artifacts"]


@pytest.fixture(scope="module")
def repo():
    with Repo(str(ROOT)) as repo:
        yield repo


@pytest.mark.parametrize("name", ARTIFACTS)
def test_artifact_says_what_it_is(name, repo):
    check_name_format(name)  # raises for a name that no git tag can have
    artifact = repo.artifacts.read()["dvc.yaml"][name]
    assert artifact.type == "model" and artifact.desc and artifact.labels


def test_artifact_is_an_output_of_a_stage_or_lies_in_one(repo):
    outs = {Path(out.fs_path) for out in repo.index.outs}
    for name, artifact in ARTIFACTS.items():
        path = ROOT / artifact["path"]
        assert outs & {path, *path.parents}, name


def test_final_model_of_every_training_that_others_may_use_is_one():
    models = {"classify": "AB", "finetune": PARAMS["settings"], "segment": "AB"}
    finals = [f"{task}/{model}/weights" for task, names in models.items() for model in names]
    finals += ["backbone/byol", "backbone/supervised"]
    offered = [artifact["path"] for artifact in ARTIFACTS.values()]
    assert sorted(offered) == sorted(f"models/{final}.safetensors" for final in finals)
