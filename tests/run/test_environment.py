"""environment.json: what is written, when it is written anew, and what a stage says of other versions."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata

import pytest
from closure import ROOT

from hw1.run import environment
from hw1.run.environment import FILE, PACKAGES, installed, record, recorded, tell_others
from hw1.run.errors import InputError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty project of DVC's as the working folder, outside of any stage or rank."""
    monkeypatch.chdir(tmp_path)
    for variable in ("DVC_STAGE", "DVC_ROOT", "RANK", environment.SENT_ON):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    shutil.copy(ROOT / "presets/quick.yaml", tmp_path / "params.yaml")
    return tmp_path


@pytest.fixture
def versions(monkeypatch):
    """The versions that are installed, to be changed; none for a package that is taken out."""
    versions = dict.fromkeys(PACKAGES, "1.0")

    def version(package):
        if package not in versions:
            raise metadata.PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(metadata, "version", version)
    return versions


# -- the file


def test_pythons_patch_and_a_packages_build_are_no_part_of_the_version(monkeypatch, versions):
    monkeypatch.setattr(sys, "version_info", type("Version", (), {"major": 3, "minor": 12, "micro": 7}))
    versions["torch"] = "2.15.0+cu130"
    assert (installed()["python"], installed()["torch"]) == ("3.12", "2.15.0")


def test_file_is_written_once_and_left_alone_while_nothing_differs(versions, capsys):
    record()
    assert json.loads(FILE.read_text()).keys() == {"python", *PACKAGES}
    assert capsys.readouterr().out.startswith("environment.json: written; ")
    before = FILE.stat()
    record()
    assert (FILE.stat().st_ino, FILE.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert capsys.readouterr().out == ""


def test_upgrade_is_written_and_named(versions, capsys):
    record()
    capsys.readouterr()
    versions |= {"torch": "2.16.0", "numpy": "2.5"}
    record()
    assert recorded() == {"python": installed()["python"], **dict.fromkeys(PACKAGES, "1.0"), **versions}
    said = capsys.readouterr().out
    assert said.startswith("environment.json: numpy 1.0 -> 2.5, torch 1.0 -> 2.16.0; `dvc repro` reruns")
    assert "`dvc commit -f`" in said and said.count("\n") == 1


def test_missing_package_is_named_the_file_stays_and_a_stage_passes_it_over(versions, capsys):
    record()
    before = FILE.read_bytes()
    del versions["scipy"], versions["pandas"]
    assert told(capsys) == 0
    versions["numpy"] = "2.5"
    with pytest.raises(InputError, match=r"^pandas, scipy: not installed in .*; install it there$"):
        record()
    assert FILE.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b'{"torch": "2.1",\n<<<<<<< HEAD\n', b"[]", b'{"torch": 2.1}', b"\xff\xfe\x00", b""]
)
def test_file_that_is_no_object_of_versions_is_refused_and_written_anew(content, versions):
    FILE.write_bytes(content)
    advice = r"write it anew by `python -m hw1\.run\.environment`"
    with pytest.raises(InputError, match=rf"^environment\.json: [^\n]*{advice}$"):
        recorded()
    record()
    assert recorded()["torch"] == "1.0"


# -- what a stage says


@pytest.mark.parametrize(
    "changes, status, told",
    [
        ({}, 0, r""),
        ({"numpy": "1.2.3"}, 0, r"environment\.json says numpy 1\.2\.3 \(installed: .+`python -m hw1\.run\.env.*\n"),
        ({"numpy": 1.2}, 1, r"error: environment\.json: .*\n"),
    ],
)
def test_stage_names_other_versions_in_one_line_and_goes_on_but_from_a_broken_file(changes, status, told):
    FILE.write_text(json.dumps(installed() | changes))
    command = [sys.executable, "-m", "stages.prepare", "--help"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == status and re.fullmatch(told, done.stderr)


def told(capsys):
    tell_others()
    return capsys.readouterr().err.count("\n")


def test_only_one_of_several_ranks_speaks(versions, capsys, monkeypatch):
    FILE.write_text('{"torch": "2.14.0"}')
    assert told(capsys) == 1
    for rank, lines in (("0", 1), ("1", 0)):  # of somebody else's torchrun
        monkeypatch.setenv("RANK", rank)
        assert told(capsys) == lines
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv(environment.SENT_ON, "torchrun")  # of ours, which has spoken
    assert told(capsys) == 0


def test_stages_of_one_repro_say_it_once_where_that_can_be_remembered(folder, versions, capsys, monkeypatch):
    FILE.write_text('{"torch": "2.14.0"}')
    monkeypatch.setenv("DVC_STAGE", "prepare@p1")
    assert [told(capsys), told(capsys), told(capsys)] == [1, 0, 0]
    monkeypatch.setattr(environment, "repro", lambda: "1-2")  # another `dvc repro`
    assert [told(capsys), told(capsys)] == [1, 0]
    shutil.rmtree(folder / ".dvc/tmp")
    assert [told(capsys), told(capsys)] == [1, 1]
