"""Members of small zips made here: what is read, and how each fault is named."""

import zipfile

import pytest

from hw1.archive.archive import GIVEN, Archive
from hw1.run.errors import InputError


@pytest.fixture
def pack(tmp_path):
    """A function of members (name -> bytes): the Archive of a zip that holds them."""

    def pack(members):
        with zipfile.ZipFile(tmp_path / "course.zip", "w") as file:
            for name, content in members.items():
                file.writestr(name, content)
        return Archive(tmp_path / "course.zip")

    return pack


def test_members_are_sorted_and_lie_directly_in_the_folder(pack):
    names = ["a/10.jpg", "a/9.jpg", "a/B.JPG", "a/deep/1.jpg", "b/1.jpg", "a/notes.txt", "a/._9.jpg"]
    assert pack(dict.fromkeys(names, b"")).pictures("a") == ["a/10.jpg", "a/9.jpg", "a/B.JPG"]


def test_folder_without_pictures_and_missing_member_are_named(pack):
    archive = pack({"hw1_data/a/": b"", "hw1_data/b/1.jpg": b""})
    reason = r"course\.zip: hw1_data/a: no pictures; the archive must hold them there; it has b$"
    with pytest.raises(InputError, match=reason):
        archive.pictures("a")
    with pytest.raises(InputError, match=r"hw1_data/b\.txt: missing in the archive"):
        archive.read("b.txt")


def test_zip_of_an_unknown_version_or_with_flipped_bytes_is_refused(pack):
    path = pack({"a/1.jpg": bytes(range(200))}).path
    whole = path.read_bytes()
    content = bytearray(whole)
    content[whole.index(bytes(range(100)))] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"course\.zip: a/1\.jpg: cannot be unpacked \(Bad CRC-32"):
        Archive(path).read("a/1.jpg")
    content[whole.index(b"PK\1\2") + 6] = 99  # version needed, in the directory at the end
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"course\.zip: not a whole zip file"):
        Archive(path)


@pytest.mark.parametrize(
    "content", ['{"data": "mine"}', '{"data": ["synthetic"]}', "[]", "null", "not json", "[" * 100_000, b"\xff\xfe", ""]
)
def test_origin_of_the_users_own_making_counts_as_given(pack, content):
    assert pack({"hw1_data/origin.json": content}).origin == GIVEN
