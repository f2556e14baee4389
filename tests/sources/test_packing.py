"""Zips, tars and folders as sources of files: read as they are, or refused by name; nothing else is touched."""

import io
import os
import tarfile
import zipfile

import pytest

from hw1.run.errors import InputError
from hw1.sources import packing
from hw1.sources.packing import entries, pack

FILES = {"p1_data/train_50/0_0.png": b"zero", "p1_data/train_50/1_0.png": b"one", "p3_data/a_sat.jpg": b"tile"}


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        (tmp_path / "given" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "given" / name).write_bytes(content)
    return tmp_path / "given"


def tar_of(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def read(path):
    return {entry.name: b"".join(entry.chunks(1000)) for entry in entries(path)}


def packed(path, out):
    pack(entries(path), out)
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_files_of_a_folder_and_its_links_come_in_sorted_order_without_hidden_ones(folder, tmp_path):
    for name in (".git/config", "p1_data/.DS_Store", "../elsewhere/0.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"far")
    (folder / "p2_data").symlink_to(tmp_path / "elsewhere")
    (folder / "p3_data/b_sat.jpg").symlink_to(tmp_path / "elsewhere/0.jpg")
    expected = FILES | {"p2_data/0.jpg": b"far", "p3_data/b_sat.jpg": b"far"}
    assert list(read(folder).items()) == sorted(expected.items())


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_files_of_a_tar_of_any_compression_stay_readable_in_any_order(mode, tmp_path):
    path = tar_of(tmp_path / "a.tar", FILES.items(), mode)
    assert read(path) == FILES
    assert [b"".join(entry.chunks(10)) for entry in reversed(list(entries(path)))] == list(reversed(FILES.values()))


def test_same_files_give_the_same_zip_at_another_time(folder, tmp_path):
    packed(folder, tmp_path / "a.zip")
    for path in folder.rglob("*.png"):
        os.utime(path, (0, 0))
    assert packed(folder, tmp_path / "b.zip") == FILES
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda path: path.symlink_to(path.parents[1]), r"2_0\.png: a link to a folder around it; remove it"),
        (lambda path: path.symlink_to("nowhere"), r"2_0\.png: No such file or directory; mend or remove it"),
        (os.mkfifo, r"2_0\.png: neither a file nor a folder"),  # and not waited for
    ],
)
def test_loop_broken_link_or_pipe_in_a_folder_is_refused(make, reason, folder):
    make(folder / "p1_data/train_50/2_0.png")
    with pytest.raises(InputError, match=reason):
        read(folder)


def test_huge_sparse_file_is_refused_after_the_bound(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "MAX_MEMBER", 1 << 20)
    with open(folder / "p1_data/train_50/2_0.png", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"2_0\.png: more than 1,048,576 bytes"):
        packed(folder, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").stat().st_size < 4 << 20


def test_unreadable_file_keeps_its_own_error(folder, tmp_path, monkeypatch):
    def refuse(self, mode):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", refuse)  # the tests may run as root, who may read all
    with pytest.raises(PermissionError, match=r"0_0\.png"):
        packed(folder, tmp_path / "a.zip")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_link_or_device_in_a_tar_is_refused(kind, tmp_path):
    member = tarfile.TarInfo("p1_data/x.png")
    member.type, member.linkname = kind, "/etc/passwd"
    path = tar_of(tmp_path / "a.tar", [*FILES.items(), (member, b"")])
    with pytest.raises(InputError, match=r"a\.tar: p1_data/x\.png: a link or device"):
        read(path)


@pytest.mark.parametrize("name", ["../../escape.png", "/etc/cron.d/escape"])
def test_tar_member_with_a_path_out_of_it_stays_a_name(name, tmp_path):
    assert packed(tar_of(tmp_path / "a.tar", [(name, b"x")]), tmp_path / "a.zip") == {name: b"x"}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tar", "a.zip"]


def test_tar_cut_anywhere_in_its_files_is_refused(tmp_path):
    """1024 bytes is between two members, where tarfile itself takes the cut for the end."""
    whole = tar_of(tmp_path / "a.tar", FILES.items()).read_bytes()
    # Three times 900 bytes that cannot be compressed.
    packed = tar_of(tmp_path / "a.tar.gz", [(name, os.urandom(900)) for name in FILES], "w:gz").read_bytes()
    for content, cuts in ((whole, (700, 1024, 1536, 2500)), (packed, range(200, 2700, 97))):
        for keep in cuts:
            (tmp_path / "cut.tar").write_bytes(content[:keep])
            with pytest.raises(InputError, match=r"cut\.tar.*(not a whole|cannot be read)"):
                read(tmp_path / "cut.tar")


def test_damaged_zip_member_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"x" * 500)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[100] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.zip: a\.png: cannot be read"):
        read(tmp_path / "a.zip")


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"some text", "not a whole zip or tar file; get it again"),
        (b"Rar!\x1a\x07\x00", "a RAR archive, which is not read; unpack it and give the folder"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive, which"),
        (b"<!DOCTYPE html>", "a web page, which"),
        (b"version https://git-lfs", "a pointer of Git LFS, which"),
    ],
)
def test_file_of_another_kind_is_named(content, reason, tmp_path):
    (tmp_path / "a.zip").write_bytes(content + bytes(100))
    with pytest.raises(InputError, match=rf"a\.zip: {reason}"):
        entries(tmp_path / "a.zip")


def test_same_name_twice_is_refused(tmp_path):
    path = tar_of(tmp_path / "a.tar", [("a.png", b"1"), ("a.png", b"2")])
    with pytest.raises(InputError, match=r"a\.tar: a\.png: the archive has a file of this name already"):
        packed(path, tmp_path / "a.zip")


@pytest.mark.parametrize("name", [b"0_\xff.png", b"0_\n.png"])
def test_file_name_of_unprintable_characters_is_named(name, folder, tmp_path):
    (folder / os.fsdecode(name)).write_bytes(b"")
    with pytest.raises(InputError, match=r"0_\\.*rename or remove it"):
        packed(folder, tmp_path / "a.zip")
