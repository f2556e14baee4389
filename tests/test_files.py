"""Outputs that are whole or absent, also when the work stops halfway."""

import pytest

from hw1.files import whole_file, whole_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_under_its_name_only_when_it_is_whole(tmp_path):
    with whole_file(tmp_path / "new/a.txt") as draft:
        draft.write_text("half")
        assert not (tmp_path / "new/a.txt").exists()
        draft.write_text("whole")
    assert (tmp_path / "new/a.txt").read_text() == "whole"
    assert names(tmp_path / "new") == ["a.txt"]


def test_failed_file_leaves_the_older_one_and_no_draft(tmp_path):
    (tmp_path / "a.txt").write_text("older")
    with pytest.raises(RuntimeError, match="stopped"), whole_file(tmp_path / "a.txt") as draft:
        draft.write_text("half")
        raise RuntimeError("stopped")
    assert (tmp_path / "a.txt").read_text() == "older"
    assert names(tmp_path) == ["a.txt"]


def test_interrupted_file_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a.txt") as draft:
        draft.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_folder_appears_under_its_name_only_when_it_is_whole(tmp_path):
    with whole_folder(tmp_path / "new/a") as draft:
        (draft / "1").touch()
        assert not (tmp_path / "new/a").exists()
    assert names(tmp_path / "new") == ["a"]
    assert names(tmp_path / "new/a") == ["1"]


def test_folder_takes_the_place_of_the_older_one(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").touch()
    with whole_folder(tmp_path / "a") as draft:
        (draft / "new").touch()
    assert names(tmp_path / "a") == ["new"]


def test_failed_folder_leaves_the_older_one_and_no_draft(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").touch()
    with pytest.raises(RuntimeError, match="stopped"), whole_folder(tmp_path / "a") as draft:
        (draft / "new").touch()
        raise RuntimeError("stopped")
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["old"]


def test_folder_forgets_the_draft_of_a_killed_process(tmp_path):
    with whole_folder(tmp_path / "a") as draft:
        pass
    draft.mkdir()
    (draft / "half").touch()
    with whole_folder(tmp_path / "a") as again:
        (again / "whole").touch()
    assert draft == again
    assert names(tmp_path / "a") == ["whole"]
