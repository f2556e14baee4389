"""The download: a zip or folder on disk becomes the archive, or nothing is left behind."""

import dataclasses
import hashlib
import json
import os
import tarfile
import zipfile
from pathlib import Path

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


def fetched(out="a.zip", **changes):
    """The archive that is fetched with these changes of the parameters; on an error, nothing is left where it goes."""
    out = Path("raw") / out
    try:
        fetch(dataclasses.replace(OURS, **changes), TINY, out)
    except InputError:
        assert not out.exists()
        raise
    return out


def test_zip_is_copied_byte_for_byte_with_its_checksum_and_record_beside_it(archive):
    out = fetched()
    assert out.read_bytes() == archive.read_bytes()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert Path(f"{out}.sha256").read_text() == f"{digest}  a.zip\n"
    record = {"source": "path", "name": "given.zip", "origin": GIVEN, "sha256": digest, "bytes": archive.stat().st_size}
    assert json.loads(out.with_name("archive.json").read_text()) == record


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"sha256": "a" * 64}, r"data\.sha256: the archive has [0-9a-f]{64}, params\.yaml expects a{64}"),
        ({"path": "none.zip"}, r"none\.zip: no such file or folder \(data\.path\)"),
        ({"path": "empty"}, r"empty: no p1_data, p2_data, p3_data in it \(data\.path\); give the folder that"),
        ({"path": "unpacked"}, r"2_0\.png: neither a file nor a folder"),
        ({"path": "two"}, r"lie in hw1_data/, old/ \(data\.path\); give one of these folders"),
        ({"weights": "none.pt"}, r"none\.pt: no such file \(data\.weights\)"),
        (
            {"path": "full.zip", "weights": "given.zip"},
            r"the archive has pretrain_model_SL\.pt already; set data\.weights",
        ),
    ],
)
def test_what_cannot_be_taken_is_named_and_leaves_nothing(changes, reason, workplace, folder, archive):
    for name in ("empty", "two/old/p3_data", "two/hw1_data/p1_data"):
        (workplace / name).mkdir(parents=True)
    os.mkfifo(folder / "hw1_data/p1_data/train_50/2_0.png")
    with zipfile.ZipFile("full.zip", "w") as file:
        file.writestr("hw1_data/pretrain_model_SL.pt", b"others")
    with pytest.raises(InputError, match=reason):
        fetched(**changes)
    assert list((workplace / "raw").iterdir()) == []


@pytest.mark.parametrize("top", ["", "data", "data/hw1_data", "hw1-data-main/a/b"])
def test_folder_of_the_layout_becomes_a_readable_archive_wherever_it_lies(top, workplace, folder):
    (workplace / "around" / top).parent.mkdir(parents=True, exist_ok=True)
    (folder / "hw1_data").rename(workplace / "around" / top)
    archive = Archive(fetched(path="around"))
    assert archive.pictures("p1_data/train_50") == ["p1_data/train_50/0_0.png", "p1_data/train_50/1_0.png"]
    assert archive.read("p1_data/train_50/1_0.png") == b"one"


def test_what_a_folder_or_zip_holds_besides_is_told(folder, archive, capsys):
    for name in ("p1_data/.DS_Store", "notes.txt"):
        (folder / "hw1_data" / name).write_text("")
    fetched(path=str(folder))
    told = capsys.readouterr().err
    assert told.startswith(f"{folder}: left out 2 files and folders: ")
    assert "hw1_data/p1_data/.DS_Store" in told and "hw1_data/notes.txt" in told
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("readme.txt", b"")
    fetched()
    assert capsys.readouterr().err == "given.zip: left out 1 files outside of the course's folders: readme.txt\n"


def test_tar_becomes_a_readable_archive_and_its_own_checksum_counts(workplace, folder):
    path = workplace / "given.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder / "hw1_data", "hw1_data")
    out = fetched(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert Archive(out).read("p1_data/train_50/1_0.png") == b"one"


@pytest.mark.parametrize("path, root", [("given.zip", "."), ("~/given.zip", "/")])
def test_path_starts_at_the_projects_root_or_the_users_home(path, root, workplace, archive, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(workplace / root))
    monkeypatch.setenv("HOME", str(workplace))
    (workplace / "experiment").mkdir()
    monkeypatch.chdir(workplace / "experiment")
    assert fetched(path=path).read_bytes() == archive.read_bytes()


def test_synthetic_archive_is_drawn_with_its_record(workplace):
    out = fetched(source="synthetic")
    assert len(Archive(out).pictures("p1_data/train_50")) == 2
    record = json.loads(out.with_name("archive.json").read_text())
    assert (record["source"], record["name"], record["origin"]) == ("synthetic", "drawn by the project", SYNTHETIC)
    assert record["sha256"] == sources.sha256(out)


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve() as site:
        yield site


@pytest.fixture
def mirror(site, archive):
    """Changes of the parameters that fetch the archive from a web server."""
    return {"source": "url", "url": site.put("/mirror/hw1_data.zip", archive.read_bytes())}


def test_archive_of_a_mirror_is_fetched_once_and_stays_in_use_when_it_changes_there(archive, site, mirror, capsys):
    content = archive.read_bytes()
    for out in ("a.zip", "b.zip"):
        assert fetched(out, **mirror).read_bytes() == content
    assert len(site.ranges_asked) == 1
    assert hashlib.sha256(content).hexdigest() in capsys.readouterr().err
    site.put("/mirror/hw1_data.zip", content + b"new")
    assert fetched("c.zip", **mirror).read_bytes() == content
    assert "there is another version now; using the one fetched before (delete " in capsys.readouterr().err


def test_first_download_is_pinned(workplace, archive, site, mirror):
    fetched(**mirror)
    (kept,) = (workplace / "downloads").rglob("hw1_data.zip")
    kept.unlink()
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("another", b"")
    site.put("/mirror/hw1_data.zip", archive.read_bytes())
    with pytest.raises(InputError, match=r"hw1_data\.zip: SHA-256 [0-9a-f]{64}, but [0-9a-f]{64} was fetched first"):
        fetched("b.zip", **mirror)


@pytest.mark.parametrize(
    "content, sha256, reason",
    [
        (None, "a" * 64, "expected aaaa"),
        (b"<html>please log in</html>", "", "what was fetched is no zip or tar file, and was deleted"),
    ],
)
def test_what_is_not_the_archive_is_told_and_not_kept(content, sha256, reason, workplace, site, mirror):
    if content:
        site.put("/mirror/hw1_data.zip", content)
    with pytest.raises(InputError, match=reason):
        fetched(**mirror, sha256=sha256)
    assert [path for path in workplace.rglob("*hw1_data.zip") if path.is_file()] == []


def test_courses_archive_is_fetched_from_drive_with_its_terms_shown(archive, monkeypatch, capsys):
    asked = []

    def fetch_drive(file_id, path, most, digest):
        asked.append((file_id, digest))
        path.parent.mkdir()
        path.write_bytes(archive.read_bytes())

    monkeypatch.setattr(sources, "fetch_drive", fetch_drive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    for out in ("a.zip", "b.zip"):
        assert fetched(out, source="course", sha256=digest).read_bytes() == archive.read_bytes()
    assert asked == [("1owVOM3V94bC8v2N8s7n56ciVzVbSzYtd", f"sha256:{digest}")]
    assert capsys.readouterr().err.count("terms") == 2  # in one line, once


@pytest.mark.parametrize("root", ["hw1_data", "."])
def test_weights_of_their_own_parameter_join_the_archive(root, workplace, folder, archive):
    (workplace / "sl.pt").write_bytes(b"weights")
    path = archive if root == "hw1_data" else folder / "hw1_data"
    Archive(fetched(path=str(path), weights="sl.pt")).copy_weights("pretrain_model_SL.pt", workplace / "copied")
    assert (workplace / "copied").read_bytes() == b"weights"
