"""environment.json: what is written, when it is written anew, and what a stage says of other versions."""

import json
import os
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


def test_missing_package_is_named_and_the_file_stays(versions):
    record()
    before = FILE.read_bytes()
    versions["numpy"] = "2.5"
    del versions["scipy"], versions["pandas"]
    with pytest.raises(InputError, match=r"^pandas, scipy: not installed in .*; install it there$"):
        record()
    assert FILE.read_bytes() == before


BROKEN = [b'{"torch": "2.15.0",\n<<<<<<< HEAD\n', b"[]", b'{"torch": 2.15}', b"\xff\xfe\x00", b""]


@pytest.mark.parametrize("content", BROKEN)
def test_file_that_is_no_object_of_versions_is_refused_and_written_anew(content, versions):
    FILE.write_bytes(content)
    with pytest.raises(
        InputError, match=r"^environment\.json: [^\n]*write it anew by `python -m hw1\.run\.environment`$"
    ):
        recorded()
    record()
    assert recorded()["torch"] == "1.0"


# -- what a stage says


def stage(folder, **variables):
    """The error output of a stage that only shows its help."""
    done = subprocess.run(
        [sys.executable, "-m", "stages.prepare", "--help"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


def test_stage_names_other_versions_in_one_line_and_goes_on(folder):
    versions = installed()
    FILE.write_text(json.dumps(versions | {"numpy": "1.2.3"}))
    status, said = stage(folder)
    assert status == 0 and said.count("\n") == 1
    assert said.startswith(f"environment.json says numpy 1.2.3 (installed: {versions['numpy']}); ")
    assert "`python -m hw1.run.environment`" in said


def test_stage_says_nothing_of_the_same_versions(folder):
    record()
    assert stage(folder) == (0, "")


def test_stage_ends_on_a_broken_file_in_one_line(folder):
    FILE.write_bytes(BROKEN[0])
    status, said = stage(folder)
    assert status == 1 and said.startswith("error: environment.json: ") and said.count("\n") == 1


def told(capsys):
    tell_others()
    return capsys.readouterr().err.count("\n")


def test_package_that_is_not_installed_here_is_passed_over(versions, capsys):
    record()
    del versions["pandas"]
    assert told(capsys) == 0


def test_only_one_of_several_ranks_speaks(versions, capsys, monkeypatch):
    FILE.write_text('{"torch": "2.14.0"}')
    assert told(capsys) == 1
    for rank, lines in (("0", 1), ("1", 0)):  # of somebody else's torchrun
        monkeypatch.setenv("RANK", rank)
        assert told(capsys) == lines
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv(environment.SENT_ON, "torchrun")  # of ours, which has spoken
    assert told(capsys) == 0


def test_stages_of_one_repro_say_it_once(folder, versions, capsys, monkeypatch):
    FILE.write_text('{"torch": "2.14.0"}')
    monkeypatch.setenv("DVC_STAGE", "prepare@p1")
    assert [told(capsys), told(capsys), told(capsys)] == [1, 0, 0]
    monkeypatch.setattr(environment, "repro", lambda: "1-2")  # another `dvc repro`
    assert [told(capsys), told(capsys)] == [1, 0]


def test_stage_that_cannot_remember_says_it_again(folder, versions, capsys, monkeypatch):
    FILE.write_text('{"torch": "2.14.0"}')
    monkeypatch.setenv("DVC_STAGE", "prepare@p1")
    (folder / ".dvc/tmp").rmdir()
    assert [told(capsys), told(capsys)] == [1, 1]
