"""Faults that are said and mended before ``dvc repro``."""

import fcntl
import json
import os
import re
import subprocess
import sys

import pytest
from closure import ROOT

from hw1.run.ready import mend_lock, part_from_cache, settle_git

QUICK = (ROOT / "presets/quick.yaml").read_text()


@pytest.mark.parametrize(
    "more, told", [("", ""), ("sead: 2\n", "error: sead: got an unknown key, allowed here: seed, lr, runtime.*\n")]
)
def test_check_is_silent_for_a_right_file_and_one_line_for_a_wrong_one(more, told, tmp_path):
    (tmp_path / "params.yaml").write_text(f"{QUICK}\n{more}")
    command = [sys.executable, "-m", "hw1.run.ready"]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (bool(more), "") and re.fullmatch(told, done.stderr)


@pytest.mark.parametrize("left", ["", '{"write": {"/a": {"pid": 1, "cm'], ids=["emptied", "half written"])
def test_lock_that_a_kill_cut_short_is_deleted_and_told(left, tmp_path, capsys):
    (tmp_path / "rwlock").write_text(left)
    mend_lock(tmp_path)
    assert not (tmp_path / "rwlock").exists()
    assert capsys.readouterr().out == f"{tmp_path}/rwlock: cut short by a kill; deleted, so that DVC runs again\n"


def test_lock_that_dvc_can_read_or_another_process_is_writing_stays(tmp_path, capsys):
    with open(tmp_path / "rwlock.lock", "w") as guard:
        for held in (json.dumps({"write": {"/a": {"pid": 1, "cmd": "dvc repro"}}, "read": {}}), ""):
            (tmp_path / "rwlock").write_text(held)
            mend_lock(tmp_path)
            assert (tmp_path / "rwlock").read_text() == held and capsys.readouterr().out == ""
            fcntl.flock(guard, fcntl.LOCK_EX)


def test_dvc_refuses_the_lock_that_is_mended_and_guards_it_as_we_do(tmp_path):
    from dvc.fs import localfs
    from dvc.lock import LockError
    from dvc.rwlock import RWLockFileCorruptedError, rwlock

    (tmp_path / "rwlock").write_text("")
    held = (str(tmp_path), localfs, "dvc repro", [], ["/a"], False)
    with pytest.raises(RWLockFileCorruptedError), rwlock(*held):
        pass
    mend_lock(tmp_path)
    with rwlock(*held):
        assert json.loads((tmp_path / "rwlock").read_text())["write"]["/a"]["cmd"] == "dvc repro"
    with open(tmp_path / "rwlock.lock", "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        with pytest.raises(LockError), rwlock(*held):
            pass


@pytest.fixture
def root(tmp_path):
    """A folder that DVC takes for a project, without git."""
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (root / "dvc.yaml").write_text("stages: {one: {cmd: echo done > out, outs: [out]}}\n")
    return root


def dvc(root, *arguments):
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(root)}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def test_folder_without_git_is_rebuilt_without_and_with_git_again_as_before(root, capfd):
    assert "is not a git repository" in dvc(root, "repro").stderr
    settle_git(root)
    said = capfd.readouterr().out
    assert said.startswith("no git here: the results are rebuilt without; experiments") and said.count("\n") == 1
    assert dvc(root, "repro").returncode == 0 and (root / "out").exists()
    settle_git(root)  # a second time nothing is left to set
    assert (root / ".dvc/config.local").read_text().count("no_scm") == 1
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    settle_git(root)
    assert "no_scm" not in (root / ".dvc/config.local").read_text()
    assert dvc(root, "status").returncode == 0


def test_git_is_left_alone_where_it_is(root, capfd):
    subprocess.run(["git", "init", "-q"], cwd=root.parent, check=True)
    settle_git(root)
    assert not (root / ".dvc/config.local").exists() and capfd.readouterr().out == ""


def test_what_root_writes_into_an_output_is_seen_and_leaves_the_cache_whole(root, capfd):
    settle_git(root)
    dvc(root, "config", "cache.type", "reflink,hardlink,symlink,copy")
    capfd.readouterr()
    for user in (1000, 0, 0):
        part_from_cache(root, user)
    assert capfd.readouterr().out.count("root can write into read-only links") == 1
    assert dvc(root, "repro").returncode == 0
    (root / "out").chmod(0o644)
    (root / "out").write_text("as it is")
    assert "modified" in dvc(root, "status").stdout
    (root / "out").unlink()
    assert dvc(root, "checkout", "-q").returncode == 0
    assert (root / "out").read_text() == "done\n"


def test_cache_type_of_the_users_own_stays_for_root(root, capfd):
    (root / ".dvc/config.local").write_text(own := "[cache]\n    type = symlink\n")
    part_from_cache(root, 0)
    assert ((root / ".dvc/config.local").read_text(), capfd.readouterr().out) == (own, "")
