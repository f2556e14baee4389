"""Hashes as DVC takes them, without DVC."""

from hw1.experiments.lockfile import digest


def test_hash_of_a_folder_is_the_one_that_dvc_writes_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvcignore").write_text("# b.py\n__pycache__/\n*.pyc\n/other/\n")
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/__pycache__").mkdir()
    files = {"b.py": "one\n", "sub/a.py": "two\n", "B.py": "three", "__pycache__/z": "x", "z.pyc": "x"}
    for name, text in files.items():
        (tmp_path / "d" / name).write_text(text)
    assert digest("d") == "af49cdb2c7d928c28b252b1843c59ee8.dir"  # dvc add d


def test_hash_of_a_file_is_its_md5(tmp_path):
    (tmp_path / "b.py").write_text("one\n")
    assert digest(str(tmp_path / "b.py")) == "5bbf5a52328e7439ae6e719dfe712200"  # md5sum


def test_hash_of_nothing_is_empty(tmp_path):
    assert digest(str(tmp_path / "none")) == ""
