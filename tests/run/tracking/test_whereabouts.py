"""Records of trainings, found by the bytes of the histories they wrote."""

from datetime import UTC, datetime, timedelta

import pytest

from hw1.run.tracking import tracking
from hw1.run.tracking.tracking import Tracker
from hw1.run.tracking.whereabouts import KEPT, keep_record, record_of


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def written(path, text):
    path.write_text(text)
    return path


def test_a_record_is_found_by_the_historys_bytes_wherever_it_lies_and_is_the_latest_of_them(project):
    for device in ("GPU", "CPU"):
        keep_record(written(project / "A.csv", "epoch\n1\n"), {"device": device})
    assert record_of(written(project / "other.csv", "epoch\n1\n")) == {"device": "CPU"}
    assert record_of(written(project / "A.csv", "epoch\n2\n")) is None
    assert record_of(project / "nothing.csv") is None
    (record,) = (project / KEPT).iterdir()
    record.write_text("{")
    assert record_of(project / "other.csv") is None


def test_a_training_keeps_where_it_ran(project, monkeypatch):
    monkeypatch.setattr(tracking, "_start_sender", lambda folder: None)
    monkeypatch.delenv("HW1_TRACKING")
    monkeypatch.setenv("DVC_STAGE", "finetune@C")
    history = written(project / "C.csv", "epoch\n1\n")
    with Tracker.start("finetune@C", {}, {"device": "NVIDIA H100"}) as tracker:
        tracker.log_history(history)
    record = record_of(history)
    assert record["device"] == "NVIDIA H100" and record["MLflow run"].startswith("finetune@C, hw1.events ")
    assert datetime.now(UTC) - datetime.fromisoformat(record["ended"]) < timedelta(minutes=5)
