"""Where a command may write."""

import pytest

from hw1.predict.places import require_file_place, require_folder_place, require_new_folder
from hw1.run.errors import InputError


@pytest.fixture
def place(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    return tmp_path


@pytest.mark.parametrize("out", ["new.csv", "file", "a/b/new.csv", "folder/new.csv"])
def test_new_file_in_a_folder_that_is_or_can_be_made(out, place):
    require_file_place(place / out)


@pytest.mark.parametrize(
    "out, reason",
    [
        ("folder", "folder: a folder; give the name"),
        (".", "a folder; give the name"),
        ("file/new.csv", "file: no folder, so nothing"),
        ("file/a/b/new.csv", "file: no folder, so nothing"),
    ],
)
def test_file_that_cannot_be_written_is_named(out, reason, place):
    with pytest.raises(InputError, match=reason):
        require_file_place(place / out)


@pytest.mark.parametrize("out", ["folder", "new", "a/b"])
def test_folder_that_is_or_can_be_made(out, place):
    require_folder_place(place / out)


@pytest.mark.parametrize("out", ["file", "file/a"])
def test_folder_that_cannot_be_made_is_named(out, place):
    with pytest.raises(InputError, match="file: no folder, so nothing"):
        require_folder_place(place / out)


def test_nothing_is_written_over_what_is_read(place):
    (place / "link").symlink_to(place / "file")
    with pytest.raises(InputError, match="link: would be written over what is read"):
        require_file_place(place / "link", [place / "file"])
    with pytest.raises(InputError, match="the folder that is read"):
        require_folder_place(place / "folder/.", [place / "folder"])


@pytest.mark.parametrize("out", ["folder", "new", "a/b"])
def test_new_folder_may_be_an_empty_one(out, place):
    require_new_folder(place / out)


@pytest.mark.parametrize(
    "out, reason",
    [("file", "file: no folder, so nothing"), ("full", "full: something lies there"), ("link", "something lies there")],
)
def test_place_that_is_taken_is_named(out, reason, place):
    (place / "full").mkdir()
    (place / "full/notes").touch()
    (place / "link").symlink_to(place / "folder")
    with pytest.raises(InputError, match=reason):
        require_new_folder(place / out)
