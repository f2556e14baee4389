"""Origins of figures and tables: their stages, what these ran with, and the records beside the page."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml
from made_up import ROOT

from hw1.report.provenance import Provenance, nearest_preset, write_records
from hw1.run.parameters.params import load
from hw1.run.tracking.whereabouts import keep_record

LOCK = ROOT / "dvc.lock"


@pytest.fixture(scope="module")
def provenance() -> Provenance:
    return Provenance.read(load(ROOT / "presets/quick.yaml"), LOCK, ROOT / "presets")


def test_a_picture_of_settings_comes_from_the_archive_on(provenance):
    stages = list(provenance.of("p2_bars"))
    assert stages[0] == "download" and stages[-3:] == ["evaluate@p2", "compare", "plots"]
    trained = ["pretrain@byol", "pretrain@supervised", *(f"finetune@{key}" for key in "ABCDE")]
    assert {"prepare@mini", "prepare@office", "initialise", *trained} < set(stages)
    assert not {"prepare@p1", "prepare@p3", "classify@A", "segment@A"} & set(stages)
    for name in trained:
        assert stages.index("download") < stages.index(name) < stages.index("evaluate@p2")
    assert stages.index("pretrain@byol") < stages.index("finetune@C")


def test_settings_come_from_their_training_and_claims_from_every_training(provenance):
    stages = ["download", "imagenet", "prepare@mini", "prepare@p3", "start@P3A", "segment@A"]
    assert list(provenance.of("settings.p3.A")) == stages
    trainings = {name for name in provenance.stages if re.match("start|classify|pretrain|finetune|segment", name)}
    assert len(trainings) == 14 and trainings < set(provenance.of("claims"))
    assert list(provenance.of("claims"))[-1] == "compare"


def test_every_figure_and_table_of_the_page_has_a_fold_where_there_is_a_lock(usual, unusual):
    page, without = ((root / "report/index.html").read_text() for root in (usual, unusual))
    folds = page.count('<details class="origin">')
    assert folds > 30
    tables = page.count("<table") - folds - page.count('<table class="choices">')  # each fold has a table of its own
    assert page.count("<figure") + tables == folds <= page.count("Where this comes from")
    assert "Where this comes from" not in without
    # It asks for the records beside it; nothing was trained there.
    assert '<script src="records.js">' in page and 'data-record="finetune@C"' in page
    assert (usual / "report/records.js").read_text() == "window.records = {};\n"


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_values_are_held_against_the_nearest_preset(preset, tmp_path):
    params = load(ROOT / f"presets/{preset}.yaml")
    assert nearest_preset(params, ROOT / "presets")[0] == f"{preset}.yaml"
    assert nearest_preset(params, tmp_path) == ("", {})


def test_only_values_that_are_not_the_presets_are_told(tmp_path):
    deps = [{"path": "data/prepared/office", "md5": "ab.dir"}]
    outs = [{"path": "models/history/finetune/A.csv", "md5": "cd"}]
    used = {"params.yaml": {"lr": 0.0003, "settings.A": {"backbone": "byol", "train": "full"}}}
    used["environment.json"] = {"torch": "2.15.0"}
    entry = {"cmd": "python -m stages.finetune  A\n --data x", "deps": deps, "params": used, "outs": outs}
    lock = tmp_path / "dvc.lock"
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": {"finetune@A": entry}}))
    provenance = Provenance.read(load(ROOT / "presets/quick.yaml"), lock, ROOT / "presets")
    ((name, stage),) = provenance.of("settings.finetune").items()
    assert provenance.differing(stage) == {"lr": 0.0003, "settings.A.backbone": "byol"}
    assert provenance.environment(stage) == {"torch": "2.15.0"}
    assert stage.writes == {"models/history/finetune/A.csv": "cd"}
    assert provenance.history(name) == Path("models/history/finetune/A.csv")


def test_records_are_of_the_histories_at_hand(provenance, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    history = tmp_path / "models/history/finetune/C.csv"
    history.parent.mkdir(parents=True)
    history.write_text("epoch\n1\n")
    keep_record(history, {"date": "2026-11-27", "device": "CPU"})
    for name in ("A", "B"):
        history.with_name(f"{name}.csv").write_text(f"epoch\n{name}\n")  # trained elsewhere
    write_records(provenance, tmp_path / "records.js")
    script = (tmp_path / "records.js").read_text()
    assert json.loads(script.removeprefix("window.records = ").removesuffix(";\n")) == {
        "finetune@C": {"date": "2026-11-27", "device": "CPU"}
    }


def test_setting_that_was_removed_is_no_origin_of_what_is_shown():
    params = load(ROOT / "presets/quick.yaml")
    without = dataclasses.replace(params, settings={key: params.settings[key] for key in "ABCD"})
    stages = Provenance.read(without, LOCK, ROOT / "presets").of("claims")
    assert "finetune@D" in stages and "finetune@E" not in stages
