"""Runs of trainings under the run of their ``dvc repro``, with data and results."""

import json
from pathlib import Path

import pytest

from hw1.run.tracking import surroundings
from hw1.run.tracking.sender import deliver
from hw1.run.tracking.tracking import Tracker


@pytest.fixture
def page(tmp_path) -> Path:
    path = tmp_path / "index.html"
    path.write_text("the page")
    return path


def report(page: Path) -> None:
    with Tracker("report") as tracker:
        tracker.log_results([page], {"p1/accuracy/A": 0.5})


def wholes(store) -> list:
    return store.client.search_runs([store.experiment], "tags.`hw1.repro` LIKE '%'")


def children(store, whole) -> dict[str, str]:
    found = store.client.search_runs([store.experiment], f"tags.`mlflow.parentRunId` = '{whole.info.run_id}'")
    return {run.info.run_name: run.info.status for run in found}


def test_one_repro_has_one_parent_with_the_page_and_the_numbers(root, store, page):
    for stage in ("classify@A", "finetune@C"):
        with Tracker.start(stage, {}, {}):
            pass
    report(page)
    page.unlink()
    assert deliver(root / ".mlflow") == ""
    (whole,) = wholes(store)
    assert children(store, whole) == {"classify@A": "FINISHED", "finetune@C": "FINISHED"}
    assert whole.info.status == "FINISHED" and whole.data.metrics == {"p1/accuracy/A": 0.5}
    (kept,) = (root / "mlartifacts").rglob("results/index.html")
    assert kept.read_text() == "the page" and whole.info.run_id in kept.parts


def test_each_repro_has_a_parent_of_its_own(root, store, monkeypatch):
    for parent in (11, 22):
        monkeypatch.setattr(surroundings, "repro", lambda parent=parent: f"{parent}-1")
        with Tracker.start("finetune@C", {}, {}):
            pass
    assert deliver(root / ".mlflow") == ""
    assert [len(children(store, whole)) for whole in wholes(store)] == [1, 1]


def test_stages_sent_last_first_come_under_the_same_parent(root, store, page):
    with Tracker.start("classify@A", {}, {}):
        pass
    (first,) = (root / ".mlflow").glob("*.jsonl")
    report(page)
    hidden = first.rename(root / "hidden")
    assert deliver(root / ".mlflow") == ""
    hidden.rename(first)
    assert deliver(root / ".mlflow") == ""
    (whole,) = wholes(store)
    assert children(store, whole) == {"classify@A": "FINISHED"}


def test_parent_ends_as_the_stage_that_failed_and_runs_while_one_trains(root, store):
    Tracker.start("classify@A", {}, {})
    assert deliver(root / ".mlflow") == ""
    assert wholes(store)[0].info.status == "RUNNING"
    with pytest.raises(ValueError), Tracker.start("finetune@C", {}, {}):
        raise ValueError
    assert deliver(root / ".mlflow") == ""
    assert wholes(store)[0].info.status == "FAILED"


def test_results_sent_in_part_and_then_again_are_there_once(root, store, page, monkeypatch):
    def dies(*arguments):
        raise ConnectionError("the server died")

    report(page)
    with monkeypatch.context() as patch:
        patch.setattr(type(store.client), "log_artifact", dies)
        assert deliver(root / ".mlflow") == "MLflow failed: the server died"
    assert deliver(root / ".mlflow") == ""
    (whole,) = wholes(store)
    assert whole.data.metrics == {"p1/accuracy/A": 0.5}
    assert len(list((root / "mlartifacts").rglob("index.html"))) == 1


LOCK = """stages:
  classify@A:
    deps:
    - path: data/prepared/p1
      hash: md5
      md5: 0000000000000000000000000000old0.dir
  prepare@p1:
    outs:
    - path: data/prepared/p1
      hash: md5
      md5: ddf3438785598e60a9babecd93ebbbbb.dir
"""


@pytest.mark.parametrize("by_dvc", [True, False])
def test_data_have_dvcs_hash_where_dvc_started_the_stage_and_the_manifests_elsewhere(by_dvc, root, monkeypatch):
    monkeypatch.chdir(root)
    part = Path("data/prepared/p1")
    part.mkdir(parents=True)
    (part / "manifest.json").write_text("{}")
    Path("dvc.lock").write_text(LOCK)
    if by_dvc:
        monkeypatch.setenv("DVC_STAGE", "classify@A")
    with Tracker.start("classify@A", {}, {}) as tracker:
        tracker.log_dataset(part, "synthetic", {"train": 600, "validation": 0}, trained_on=True)
    (events,) = (root / ".mlflow").glob("*.jsonl")
    (event,) = [event for event in map(json.loads, events.read_text().splitlines()) if event["event"] == "datasets"]
    digest = "ddf3438785598e60a9babecd93ebbbbb" if by_dvc else "44136fa355b3678a1146ad16f7e8649e"  # SHA-256 of {}
    source = {"uri": "data/prepared/p1", "origin": "synthetic"}
    expected = {"name": "p1-train", "digest": digest, "source": source, "images": 600, "context": "training"}
    assert event["datasets"] == [expected]


def test_probe_of_a_pretraining_is_no_training_data(root):
    (root / "office").mkdir()
    (root / "office/manifest.json").write_text("{}")
    with Tracker.start("pretrain@byol", {}, {}) as tracker:
        tracker.log_dataset(root / "office", "synthetic", {"train": 6, "validation": 8}, trained_on=False)
    (events,) = (root / ".mlflow").glob("*.jsonl")
    (event,) = [event for event in map(json.loads, events.read_text().splitlines()) if event["event"] == "datasets"]
    assert [each["context"] for each in event["datasets"]] == ["validation", "validation"]
