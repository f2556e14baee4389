"""Places that a command may write to."""

import pytest

from hw1.predict.reading import require_file_place, require_folder_place, require_new_folder
from hw1.run.errors import InputError


@pytest.fixture
def place(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    return tmp_path


def test_place_that_is_or_can_be_made_is_taken(place):
    for out in ("new.csv", "file", "a/b/new.csv", "folder/new.csv"):
        require_file_place(place / out)
    for out in ("folder", "new", "a/b"):
        require_folder_place(place / out)
        require_new_folder(place / out)


@pytest.mark.parametrize(
    "require, out, reason",
    [
        (require_file_place, "folder", "folder: a folder; give the name"),
        (require_file_place, ".", "a folder; give the name"),
        (require_file_place, "file/a/b/new.csv", "file: no folder, so nothing"),
        (require_folder_place, "file", "file: no folder, so nothing"),
        (require_folder_place, "file/a", "file: no folder, so nothing"),
        (require_new_folder, "file", "file: no folder, so nothing"),
        (require_new_folder, "full", "full: something lies there"),
        (require_new_folder, "link", "something lies there"),
    ],
)
def test_place_that_cannot_be_written_is_named(require, out, reason, place):
    (place / "full").mkdir()
    (place / "full/notes").touch()
    (place / "link").symlink_to(place / "folder")
    with pytest.raises(InputError, match=reason):
        require(place / out)


def test_nothing_is_written_over_what_is_read(place):
    (place / "link").symlink_to(place / "file")
    with pytest.raises(InputError, match="link: would be written over what is read"):
        require_file_place(place / "link", place / "file")
    with pytest.raises(InputError, match="would be written over what is read"):
        require_folder_place(place / "folder/.", place / "folder")
