"""Stages that are killed, and disks that take nothing, in a clone with a tiny data set: what is told, what is lost."""

import random
import shutil
import subprocess
from collections import Counter

import pytest
import torture
import yaml
from tiny_project import Project, tiny

SEGMENT = (
    "python -m stages.segment A --data data/prepared/p3 --start models/start/P3A.safetensors "
    "--out models/segment/A --history models/history/segment/A.csv"
)
TRIAL = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]  # in a namespace that ends with it
MOUNTS = shutil.which("unshare") is not None and subprocess.run(TRIAL, capture_output=True).returncode == 0
needs_mounts = pytest.mark.skipif(not MOUNTS, reason="may not mount a small disk here")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    project = Project(tmp_path_factory.mktemp("killed"), tiny(killed=True), OMP_NUM_THREADS="1")
    project.run("dvc", "repro", "-q", "pretrain@byol", "segment@A")
    return project


@pytest.mark.parametrize("stage, seconds", [("prepare@p3", 0.2), ("pretrain@byol", 8.0)])
def test_stage_killed_three_times_ends_with_the_same_outputs(project, tmp_path, stage, seconds):
    anew = ("-f", "-s", "--no-run-cache", stage)
    before = project.outputs(stage)
    for target in ("stage", "first", "all"):
        repro, count = torture.Repro(project, tmp_path / "log", *anew), Counter({stage: 2})
        assert torture.kill_once(repro, project, target, {stage: seconds}, count, random.Random(0), 0.05) == stage
    output = project.run("dvc", "repro", *anew)
    assert (": goes on after epoch " in output) == (stage != "prepare@p3")
    assert project.outputs(stage) == before
    assert torture.leftovers(project.folder) == []


# -- disks


@pytest.fixture(scope="module")
def trained(project) -> dict[str, bytes]:
    """Outputs of segment@A of fewer epochs, which it now has to train."""
    tree = yaml.safe_load(tiny())
    tree["segment"]["A"]["epochs"] = 30  # a page of events is full after a dozen
    params = project.folder / "params.yaml"
    before = params.read_text()
    params.write_text(yaml.safe_dump(tree, sort_keys=False))
    project.run("sh", "-c", f"DVC_STAGE=segment@A {SEGMENT}")
    yield written(project)
    params.write_text(before)
    project.run("dvc", "checkout", "-q", "-f", "segment@A")


def written(project):
    files = [*(project.folder / "models/segment/A").iterdir(), project.folder / "models/history/segment/A.csv"]
    return {path.name: path.read_bytes() for path in files}


def segment_on_disks(project, disks, status=0):
    """Output of training segment@A anew with disks of their own mounted, ``{folder: options}``."""
    project.run("sh", "-c", f"rm -rf models/segment/A models/history/segment/A.csv && mkdir -p {' '.join(disks)}")
    mounts = " && ".join(f"mount -t tmpfs -o {options} none {folder}" for folder, options in disks.items())
    return project.run("unshare", "-rm", "sh", "-c", f"{mounts} && DVC_STAGE=segment@A {SEGMENT}", status=status)


@needs_mounts
def test_full_disks_beside_the_outputs_are_told_once_and_change_nothing(project, trained):
    output = segment_on_disks(project, {".checkpoints": "size=1m", ".mlflow": "size=4k"})
    assert output.count("segment@A: no state could be written (") == output.count("; going on without MLflow") == 1
    assert "Traceback" not in output
    assert written(project) == trained


@needs_mounts
def test_full_or_read_only_disk_for_the_outputs_is_one_line_and_loses_nothing(project, trained):
    for folder, options, fault in (
        ("models/segment", "size=8k", "No space left on device"),  # after a step of training
        ("models/segment", "ro", "Read-only file system"),  # before any, so not from that step's state
        ("models/history/segment", "ro", "Read-only file system"),
    ):
        output = segment_on_disks(project, {folder: options}, status=1)
        (error,) = (line for line in output.splitlines() if line.startswith("error: "))
        assert error.startswith(f"error: {folder}/") and fault in error and "Traceback" not in output
        assert "goes on after" not in output
    again = project.run("sh", "-c", f"DVC_STAGE=segment@A {SEGMENT}")
    assert "segment@A: goes on after epoch 0/30, step 1\n" in again
    assert written(project) == trained
    assert torture.leftovers(project.folder) == []


@needs_mounts
def test_full_disk_ends_the_preparation_in_one_line(project):
    command = "mount -t tmpfs -o size=16k none data/prepared && python -m stages.prepare p3"
    options = "--archive data/raw/hw1_data.zip --out data/prepared/p3 --reading data/reading/p3.json"
    output = project.run("unshare", "-rm", "sh", "-c", f"{command} {options}", status=1)
    assert output == ("error: data/prepared/p3: No space left on device; free some space or mend the permissions\n")
