"""The models that dvc.yaml offers to others, as DVC reads them."""

from pathlib import Path

import yaml
from closure import ROOT
from dvc.repo import Repo
from dvc.repo.artifacts import check_name_format

from hw1.run.parameters.params import load


def test_final_model_of_every_training_that_others_may_use_is_an_artifact_that_says_what_it_is():
    with Repo(str(ROOT)) as repo:
        artifacts = repo.artifacts.read()["dvc.yaml"]
        outs = {Path(out.fs_path) for out in repo.index.outs}
    for name, artifact in artifacts.items():
        check_name_format(name)  # raises for a name that no git tag can have
        assert artifact.type == "model" and artifact.desc and artifact.labels
        assert outs & {ROOT / artifact.path, *(ROOT / artifact.path).parents}, name
    models = {"classify": "AB", "finetune": load(ROOT / "params.yaml").settings, "segment": "AB"}
    finals = [f"{task}/{model}/weights" for task, names in models.items() for model in names]
    finals += ["backbone/byol", "backbone/supervised"]
    paths = [artifact["path"] for artifact in yaml.safe_load((ROOT / "dvc.yaml").read_text())["artifacts"].values()]
    assert sorted(paths) == sorted(f"models/{final}.safetensors" for final in finals)
