"""The download: a zip or folder on disk becomes the archive, or nothing is left behind."""

import hashlib
import json
import os
import zipfile

import pytest

from hw1.data import sources
from hw1.data.archive import Archive
from hw1.data.sources import fetch
from hw1.errors import InputError
from hw1.params import Data, LabelledImages, Synthetic, Tiles, UnlabelledImages

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


def fetched(out, path, sha256=""):
    fetch(Data("path", str(path), sha256), TINY, out)
    return out


def test_zip_is_copied_byte_for_byte(workplace, archive):
    assert fetched(workplace / "raw/hw1_data.zip", archive).read_bytes() == archive.read_bytes()


def test_checksum_and_record_lie_beside_the_archive(workplace, archive):
    out = fetched(workplace / "raw/hw1_data.zip", archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert (out.parent / "hw1_data.zip.sha256").read_text() == f"{digest}  hw1_data.zip\n"
    record = {"source": "path", "name": "given.zip", "sha256": digest, "bytes": archive.stat().st_size}
    assert json.loads((out.parent / "archive.json").read_text()) == record


def test_expected_checksum_is_accepted(workplace, archive):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert fetched(workplace / "raw/hw1_data.zip", archive, digest).is_file()


def test_other_checksum_is_named_and_leaves_nothing(workplace, archive):
    with pytest.raises(InputError, match=r"data\.sha256: the archive has [0-9a-f]{64}, params\.yaml expects a{64}"):
        fetched(workplace / "raw/hw1_data.zip", archive, "a" * 64)
    assert list((workplace / "raw").iterdir()) == []


def test_missing_path_is_named_and_leaves_nothing(workplace):
    with pytest.raises(InputError, match=r"none\.zip: no such file or folder \(data\.path\)"):
        fetched(workplace / "raw/hw1_data.zip", "none.zip")
    assert list((workplace / "raw").iterdir()) == []


def test_zip_cut_in_half_is_refused_and_leaves_nothing(workplace, archive):
    archive.write_bytes(archive.read_bytes()[:60])
    with pytest.raises(InputError, match=r"given\.zip: not a whole zip file"):
        fetched(workplace / "raw/hw1_data.zip", archive)
    assert list((workplace / "raw").iterdir()) == []


def test_folder_becomes_a_readable_archive(workplace, folder):
    archive = Archive(fetched(workplace / "a.zip", folder))
    assert archive.members("p1_data/train_50", ".png") == ["p1_data/train_50/0_0.png", "p1_data/train_50/1_0.png"]
    assert archive.read("p1_data/train_50/1_0.png") == b"one"


def test_folder_that_is_hw1_data_itself_becomes_a_readable_archive(workplace, folder):
    archive = Archive(fetched(workplace / "a.zip", folder / "hw1_data"))
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
    with pytest.raises(InputError, match=r"empty: no p1_data in it \(data\.path\)"):
        fetched(workplace / "raw/hw1_data.zip", "empty")


@pytest.mark.parametrize("name", [b"0_\xff.png", b"0_\n.png"])
def test_file_name_of_unprintable_characters_is_named_and_leaves_nothing(workplace, folder, name):
    (folder / "hw1_data/p1_data/train_50" / os.fsdecode(name)).write_bytes(b"")
    with pytest.raises(InputError, match=r"train_50/0_\\.*rename or remove it"):
        fetched(workplace / "raw/hw1_data.zip", folder)
    assert list((workplace / "raw").iterdir()) == []


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
    fetch(Data("synthetic", "", ""), TINY, workplace / "a.zip")
    assert len(Archive(workplace / "a.zip").members("p1_data/train_50", ".png")) == 2
    record = json.loads((workplace / "archive.json").read_text())
    assert (record["source"], record["name"]) == ("synthetic", "drawn by the project")
    assert record["sha256"] == sources.sha256(workplace / "a.zip")
