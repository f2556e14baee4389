"""What is said and mended before ``dvc repro``."""

import fcntl
import json
import subprocess
import sys

import pytest
from closure import ROOT

from hw1.run.ready import mend_lock

QUICK = (ROOT / "presets/quick.yaml").read_text()


def test_check_is_silent_for_a_right_file_and_one_line_for_a_wrong_one(tmp_path):
    done = []
    for text in (QUICK, f"{QUICK}\nsead: 2\n"):
        (tmp_path / "params.yaml").write_text(text)
        command = [sys.executable, "-m", "hw1.run.ready"]
        run = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        done.append((run.returncode, run.stdout, run.stderr.splitlines()))
    assert done[0] == (0, "", [])
    assert done[1][:2] == (1, "") and len(done[1][2]) == 1
    assert done[1][2][0].startswith("error: sead: got an unknown key, allowed here: seed, lr, runtime")


@pytest.mark.parametrize("left", ["", '{"write": {"/a": {"pid": 1, "cm'], ids=["emptied", "half written"])
def test_lock_that_a_kill_cut_short_is_deleted_and_told(left, tmp_path, capsys):
    (tmp_path / "rwlock").write_text(left)
    mend_lock(tmp_path)
    assert not (tmp_path / "rwlock").exists()
    assert capsys.readouterr().out == f"{tmp_path}/rwlock: cut short by a kill; deleted, so that DVC runs again\n"


def test_lock_that_dvc_can_read_stays(tmp_path, capsys):
    held = json.dumps({"write": {"/a": {"pid": 1, "cmd": "dvc repro"}}, "read": {}})
    (tmp_path / "rwlock").write_text(held)
    mend_lock(tmp_path)
    assert (tmp_path / "rwlock").read_text() == held and capsys.readouterr().out == ""


def test_lock_that_another_process_is_writing_stays(tmp_path):
    (tmp_path / "rwlock").write_text("")
    with open(tmp_path / "rwlock.lock", "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        mend_lock(tmp_path)
        assert (tmp_path / "rwlock").exists()


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
