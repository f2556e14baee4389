"""Outputs that are whole or absent, also when the work stops halfway."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from closure import ROOT

from hw1.run import files
from hw1.run.files import dvc_hash, is_locked, lock, whole_file, whole_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_under_its_name_only_when_it_is_whole(tmp_path):
    for text in ("1", "2"):  # the second one takes the place of the first
        with whole_file(tmp_path / "new/a") as draft:
            draft.write_text("half")
            assert names(tmp_path / "new") == [".a.tmp", "a"][: int(text)]
            draft.write_text(text)
        assert names(tmp_path / "new") == ["a"] and (tmp_path / "new/a").read_text() == text


def test_folder_appears_under_its_name_only_when_it_is_whole(tmp_path):
    for name in ("1", "2"):
        with whole_folder(tmp_path / "new/a") as draft:
            (draft / name).touch()
            assert name == "2" or not (tmp_path / "new/a").exists()
        assert names(tmp_path / "new") == ["a"] and names(tmp_path / "new/a") == [name]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failed_output_leaves_the_older_one_and_no_draft(error, tmp_path):
    (tmp_path / "a.txt").write_text("older")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/older").touch()
    with pytest.raises(error), whole_file(tmp_path / "a.txt") as file, whole_folder(tmp_path / "b") as folder:
        file.write_text("half")
        (folder / "new").touch()
        raise error
    assert names(tmp_path) == ["a.txt", "b"]
    assert (tmp_path / "a.txt").read_text() == "older" and names(tmp_path / "b") == ["older"]


# -- locks


def test_lock_is_one_openings_until_that_is_closed(tmp_path):
    with open(tmp_path / "lock", "w") as first, open(tmp_path / "lock", "w") as second:
        assert lock(first.fileno(), wait=False)
        assert not lock(second.fileno(), wait=False)
        assert lock(first.fileno(), wait=False) and is_locked(tmp_path / "lock")
        first.close()
        assert not is_locked(tmp_path / "lock")
        assert lock(second.fileno(), wait=False)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_process_on_a_file_system_without_locks_goes_on_as_if_alone(number, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with whole_file(tmp_path / "a.txt") as draft:
        draft.write_text("whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
    assert is_locked(tmp_path / "a.txt") is None


def test_other_faults_of_a_lock_are_raised(tmp_path):
    with open(tmp_path / "lock", "w") as file:
        descriptor = file.fileno()
    with pytest.raises(OSError, match="Bad file descriptor"):
        lock(descriptor)


# -- several processes


def start(code, *arguments):
    """A process that writes the file ``{arguments[0]}`` by ``code`` and prints what it has done."""
    imports = "import sys, time; from pathlib import Path; from hw1.run.files import *; path = Path(sys.argv[1])\n"
    command = [sys.executable, "-uc", imports + code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


HOLDS = """
with whole_file(path) as draft:
    draft.write_text("first")
    print("at work", flush=True)
    time.sleep(0.5)
"""
FOLLOWS = "with whole_file(path) as draft: draft.write_text('second')"


def test_second_process_waits_for_the_first_and_says_so(tmp_path):
    first = start(HOLDS, tmp_path / "a.txt")
    first.stdout.readline()
    second = start(FOLLOWS, tmp_path / "a.txt")
    _, told = second.communicate(timeout=30)
    assert first.wait(timeout=30) == second.returncode == 0
    assert told == f"{tmp_path}/.a.txt.tmp: another process is at work here; waiting for its end\n"
    assert (tmp_path / "a.txt").read_text() == "second"
    assert names(tmp_path) == ["a.txt"]


def test_many_processes_write_one_file_and_it_is_whole(tmp_path):
    code = (
        "for _ in range(20):\n with whole_folder(path) as draft: [(draft / c).write_text(sys.argv[2]) for c in 'abc']"
    )
    processes = [start(code, tmp_path / "out", number) for number in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    assert len({(tmp_path / "out" / name).read_text() for name in "abc"}) == 1
    assert names(tmp_path) == ["out"]


def test_draft_of_a_killed_process_is_forgotten(tmp_path):
    first = start(HOLDS.replace("0.5", "60"), tmp_path / "a.txt")
    first.stdout.readline()
    first.kill()
    first.wait()
    assert names(tmp_path / ".a.txt.tmp") == ["a.txt"]
    with whole_folder(tmp_path / "a.txt") as draft:
        assert names(draft) == []
        (draft / "whole").touch()
    assert names(tmp_path) == ["a.txt"]


def test_hash_of_a_folder_and_a_file_is_the_one_that_dvc_writes_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvcignore").write_text("# b.py\n__pycache__/\n*.pyc\n/other/\n")
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/__pycache__").mkdir()
    files = {"b.py": "one\n", "sub/a.py": "two\n", "B.py": "three", "__pycache__/z": "x", "z.pyc": "x"}
    for name, text in files.items():
        (tmp_path / "d" / name).write_text(text)
    assert dvc_hash(Path("d")) == "af49cdb2c7d928c28b252b1843c59ee8.dir"  # dvc add d
    assert dvc_hash(Path("d/b.py")) == "5bbf5a52328e7439ae6e719dfe712200"
