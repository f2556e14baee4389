"""The download: a zip or folder on disk becomes the archive, or nothing is left behind."""

import dataclasses
import hashlib
import json
import os
import tarfile
import zipfile

import pytest
from web_server import serve

from hw1.archive.archive import GIVEN, SYNTHETIC, Archive
from hw1.run.errors import InputError
from hw1.run.parameters.params import Data, LabelledImages, Synthetic, Tiles, UnlabelledImages
from hw1.sources import sources
from hw1.sources.sources import fetch

TINY = Synthetic(
    seed=3,
    p1=LabelledImages(classes=2, train=2, validation=2, size=16),
    mini=UnlabelledImages(classes=2, train=2, size=16),
    office=LabelledImages(classes=2, train=2, validation=2, size=16),
    p3=Tiles(train=1, validation=3, size=16),
)


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


@pytest.fixture
def folder(workplace):
    """A folder in the course's layout, as it lies on a disk."""
    root = workplace / "unpacked"
    for name, content in (("p1_data/train_50/1_0.png", b"one"), ("p1_data/train_50/0_0.png", b"zero")):
        (root / "hw1_data" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "hw1_data" / name).write_bytes(content)
    return root


@pytest.fixture
def archive(workplace):
    path = workplace / "given.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("hw1_data/p1_data/train_50/0_0.png", b"zero")
    return path


OURS = Data(source="path", path="given.zip", url="", originals="originals", weights="", sha256="")


def fetched(out, path, sha256=""):
    fetch(dataclasses.replace(OURS, path=str(path), sha256=sha256), TINY, out)
    return out


def test_zip_is_copied_byte_for_byte(workplace, archive):
    assert fetched(workplace / "raw/hw1_data.zip", archive).read_bytes() == archive.read_bytes()


def test_checksum_and_record_lie_beside_the_archive(workplace, archive):
    out = fetched(workplace / "raw/hw1_data.zip", archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert (out.parent / "hw1_data.zip.sha256").read_text() == f"{digest}  hw1_data.zip\n"
    record = {"source": "path", "name": "given.zip", "origin": GIVEN, "sha256": digest, "bytes": archive.stat().st_size}
    assert json.loads((out.parent / "archive.json").read_text()) == record


def test_other_checksum_is_named_and_leaves_nothing(workplace, archive):
    with pytest.raises(InputError, match=r"data\.sha256: the archive has [0-9a-f]{64}, params\.yaml expects a{64}"):
        fetched(workplace / "raw/hw1_data.zip", archive, "a" * 64)
    assert list((workplace / "raw").iterdir()) == []


def test_missing_path_is_named_and_leaves_nothing(workplace):
    with pytest.raises(InputError, match=r"none\.zip: no such file or folder \(data\.path\)"):
        fetched(workplace / "raw/hw1_data.zip", "none.zip")
    assert list((workplace / "raw").iterdir()) == []


def test_folder_becomes_a_readable_archive(workplace, folder):
    archive = Archive(fetched(workplace / "a.zip", folder))
    assert archive.pictures("p1_data/train_50") == ["p1_data/train_50/0_0.png", "p1_data/train_50/1_0.png"]
    assert archive.read("p1_data/train_50/1_0.png") == b"one"


def test_folder_gives_the_same_bytes_at_another_time(workplace, folder):
    first = fetched(workplace / "a.zip", folder).read_bytes()
    member = folder / "hw1_data/p1_data/train_50/0_0.png"
    member.unlink()
    member.write_bytes(b"zero")
    os.utime(member, (0, 0))
    assert fetched(workplace / "b.zip", folder).read_bytes() == first


def test_folder_without_p1_data_is_refused(workplace):
    (workplace / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"empty: no p1_data, p2_data, p3_data in it \(data\.path\); give the folder that holds them$"
    ):
        fetched(workplace / "raw/hw1_data.zip", "empty")


def test_bad_file_of_a_folder_leaves_nothing(workplace, folder):
    os.mkfifo(folder / "hw1_data/p1_data/train_50/2_0.png")
    with pytest.raises(InputError, match=r"2_0\.png: neither a file nor a folder"):
        fetched(workplace / "raw/hw1_data.zip", folder)
    assert list((workplace / "raw").iterdir()) == []


@pytest.mark.parametrize("top", ["data", "data/hw1_data", "hw1-data-main/a/b"])
def test_folder_of_the_layout_is_found_wherever_it_lies(top, workplace, folder):
    (workplace / "around" / top).parent.mkdir(parents=True)
    (folder / "hw1_data").rename(workplace / "around" / top)
    assert Archive(fetched(workplace / "a.zip", "around")).read("p1_data/train_50/1_0.png") == b"one"


def test_two_folders_of_the_layout_are_named(workplace, folder):
    (folder / "old/p3_data").mkdir(parents=True)
    with pytest.raises(InputError, match=r"lie in hw1_data/, old/ \(data\.path\); give one of these folders"):
        fetched(workplace / "raw/hw1_data.zip", folder)


def test_what_a_folder_holds_besides_is_told(workplace, folder, capsys):
    (folder / "hw1_data/p1_data/.DS_Store").write_text("")
    (folder / "hw1_data/notes.txt").write_text("")
    fetched(workplace / "a.zip", folder)
    told = capsys.readouterr().err
    assert told.startswith(f"{folder}: left out 2 files and folders: ")
    assert "hw1_data/p1_data/.DS_Store" in told and "hw1_data/notes.txt" in told


def test_what_lies_outside_of_the_layout_in_a_zip_is_told(workplace, archive, capsys):
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("readme.txt", b"")
    fetched(workplace / "a.zip", archive)
    assert capsys.readouterr().err == "given.zip: left out 1 files outside of the course's folders: readme.txt\n"


def test_tar_becomes_a_readable_archive_and_its_own_checksum_counts(workplace, folder):
    path = workplace / "given.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder / "hw1_data", "hw1_data")
    out = fetched(workplace / "a.zip", path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert Archive(out).read("p1_data/train_50/1_0.png") == b"one"


def test_relative_path_starts_at_the_projects_root(workplace, archive, monkeypatch):
    (workplace / "experiment").mkdir()
    monkeypatch.chdir(workplace / "experiment")
    monkeypatch.setenv("DVC_ROOT", str(workplace))
    assert fetched(workplace / "out.zip", "given.zip").read_bytes() == archive.read_bytes()


def test_tilde_is_the_users_home_under_dvc_too(workplace, archive, monkeypatch):
    monkeypatch.setenv("HOME", str(workplace))
    monkeypatch.setenv("DVC_ROOT", "/")
    assert fetched(workplace / "out.zip", "~/given.zip").read_bytes() == archive.read_bytes()


def test_synthetic_archive_is_drawn_with_its_record(workplace):
    fetch(dataclasses.replace(OURS, source="synthetic"), TINY, workplace / "a.zip")
    assert len(Archive(workplace / "a.zip").pictures("p1_data/train_50")) == 2
    record = json.loads((workplace / "archive.json").read_text())
    assert (record["source"], record["name"], record["origin"]) == ("synthetic", "drawn by the project", SYNTHETIC)
    assert record["sha256"] == sources.sha256(workplace / "a.zip")


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve() as site:
        yield site


@pytest.fixture
def mirror(site, archive):
    """Parameters of an archive on a web server."""
    return dataclasses.replace(OURS, source="url", url=site.put("/mirror/hw1_data.zip", archive.read_bytes()))


def test_archive_of_a_mirror_is_fetched_once(workplace, archive, site, mirror, capsys):
    for out in ("a.zip", "b.zip"):
        fetch(mirror, TINY, workplace / out)
        assert (workplace / out).read_bytes() == archive.read_bytes()
    assert len(site.ranges_asked) == 1
    assert hashlib.sha256(archive.read_bytes()).hexdigest() in capsys.readouterr().err


def test_change_at_the_mirror_is_told_and_the_fetched_archive_stays_in_use(workplace, archive, site, mirror, capsys):
    fetch(mirror, TINY, workplace / "a.zip")
    site.put("/mirror/hw1_data.zip", archive.read_bytes() + b"new")
    fetch(mirror, TINY, workplace / "b.zip")
    assert (workplace / "b.zip").read_bytes() == archive.read_bytes()
    assert "there is another version now; using the one fetched before (delete " in capsys.readouterr().err


def test_first_download_is_pinned(workplace, archive, site, mirror):
    fetch(mirror, TINY, workplace / "a.zip")
    (kept,) = (workplace / "downloads").rglob("hw1_data.zip")
    kept.unlink()
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("another", b"")
    site.put("/mirror/hw1_data.zip", archive.read_bytes())
    with pytest.raises(InputError, match=r"hw1_data\.zip: SHA-256 [0-9a-f]{64}, but [0-9a-f]{64} was fetched first"):
        fetch(mirror, TINY, workplace / "b.zip")
    assert not (workplace / "b.zip").exists()


def test_other_checksum_than_the_parameters_is_not_kept(workplace, mirror):
    with pytest.raises(InputError, match="expected aaaa"):
        fetch(dataclasses.replace(mirror, sha256="a" * 64), TINY, workplace / "a.zip")
    assert [path for path in workplace.rglob("*hw1_data.zip") if path.is_file()] == []


def test_web_page_in_place_of_the_archive_is_told_and_not_kept(workplace, site):
    page = dataclasses.replace(OURS, source="url", url=site.put("/hw1_data.zip", b"<html>please log in</html>"))
    with pytest.raises(InputError, match="what was fetched is no zip or tar file, and was deleted"):
        fetch(page, TINY, workplace / "a.zip")
    assert [path for path in workplace.rglob("*") if path.suffix == ".zip" and path.is_file()] == []


def test_courses_archive_is_fetched_from_drive_with_its_terms_shown(workplace, archive, monkeypatch, capsys):
    asked = []

    def fetch_drive(file_id, path, most, digest):
        asked.append((file_id, digest))
        path.parent.mkdir()
        path.write_bytes(archive.read_bytes())

    monkeypatch.setattr(sources, "fetch_drive", fetch_drive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    for out in ("a.zip", "b.zip"):
        fetch(dataclasses.replace(OURS, source="course", sha256=digest), TINY, workplace / out)
        assert (workplace / out).read_bytes() == archive.read_bytes()
    assert asked == [("1owVOM3V94bC8v2N8s7n56ciVzVbSzYtd", f"sha256:{digest}")]
    assert capsys.readouterr().err.count("terms") == 2  # in one line, once


@pytest.mark.parametrize("root", ["hw1_data", "."])
def test_weights_of_their_own_parameter_join_the_archive(root, workplace, folder, archive):
    (workplace / "sl.pt").write_bytes(b"weights")
    path = archive if root == "hw1_data" else folder / "hw1_data"
    fetch(dataclasses.replace(OURS, path=str(path), weights="sl.pt"), TINY, workplace / "a.zip")
    Archive(workplace / "a.zip").copy_weights("pretrain_model_SL.pt", workplace / "copied")
    assert (workplace / "copied").read_bytes() == b"weights"


def test_weights_beside_ones_in_the_archive_are_refused(workplace, archive):
    (workplace / "sl.pt").write_bytes(b"weights")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("hw1_data/pretrain_model_SL.pt", b"others")
    with pytest.raises(
        InputError, match=r"sl\.pt: the archive has pretrain_model_SL\.pt already; set data\.weights to ''"
    ):
        fetch(dataclasses.replace(OURS, weights="sl.pt"), TINY, workplace / "a.zip")
    assert not (workplace / "a.zip").exists()


def test_missing_weights_are_named(workplace, archive):
    with pytest.raises(InputError, match=r"none\.pt: no such file \(data\.weights\)"):
        fetch(dataclasses.replace(OURS, weights="none.pt"), TINY, workplace / "a.zip")
