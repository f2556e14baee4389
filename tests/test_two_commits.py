"""The words of `make check` on two finished runs, made-up ones."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file
from two_commits import default_base, differences, outputs

OUTS = ("models/A.safetensors", "models/empty.safetensors", "plots/history.csv", "data/arrays")
WEIGHTS = {"conv.weight": np.ones((2, 3), np.float32), "fc.bias": np.zeros(2, np.float32)}


@pytest.fixture
def runs(tmp_path) -> tuple[Path, Path]:
    """Two equal runs, of four outputs and five files."""
    for name in ("before", "after"):
        for folder in ("models", "plots", "data/arrays", "plots/seeds"):
            (tmp_path / name / folder).mkdir(parents=True)
        stages = {"train": {"cmd": "true", "outs": [{"path": path} for path in OUTS]}, "check": {"cmd": "true"}}
        (tmp_path / name / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
        save_file(WEIGHTS, tmp_path / name / OUTS[0], {"epoch": "3"})
        (tmp_path / name / OUTS[1]).write_bytes(b"")
        (tmp_path / name / OUTS[2]).write_text("epoch,loss\n1,0.5\n2,0.25\n")
        for split in ("train", "validation"):
            np.save(tmp_path / name / OUTS[3] / f"{split}.npy", np.arange(4))
    return tmp_path / "before", tmp_path / "after"


def test_equal_runs_differ_in_nothing_and_have_every_output(runs):
    assert differences(*runs) == []
    assert outputs(runs[0]) == {*OUTS[:3], "data/arrays/train.npy", "data/arrays/validation.npy"}


def test_changed_bit_of_a_tensor_names_the_tensor(runs):
    model = runs[1] / OUTS[0]
    content = bytearray(model.read_bytes())
    content[-1] ^= 1  # fc.bias comes last
    model.write_bytes(content)
    assert differences(*runs) == ["models/A.safetensors: fc.bias"]


@pytest.mark.parametrize(
    ("path", "weights", "metadata", "named"),
    [
        (OUTS[0], WEIGHTS | {"fc.bias": np.zeros((2, 1), np.float32)}, {"epoch": "3"}, "fc.bias"),
        (OUTS[0], WEIGHTS | {"fc.bias": np.zeros(2, np.int32)}, {"epoch": "3"}, "fc.bias"),
        (OUTS[0], {"conv.weight": WEIGHTS["conv.weight"]}, {"epoch": "3"}, "fc.bias"),
        (OUTS[0], WEIGHTS | {"fc.scale": np.zeros(2, np.float32)}, {"epoch": "3"}, "fc.scale"),
        (OUTS[0], WEIGHTS, {"epoch": "4"}, "metadata epoch"),
        (
            OUTS[1],
            {f"layer{number}": np.ones(1) for number in range(7)},
            {},
            "layer0, layer1, layer2, layer3, layer4 and 2 more",
        ),
    ],
    ids=["shape", "type", "absent", "added", "metadata", "many"],
)
def test_other_shape_type_set_of_tensors_or_metadata_is_named(runs, path, weights, metadata, named):
    save_file(weights, runs[1] / path, metadata)
    assert differences(*runs) == [f"{path}: {named}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [("epoch,loss\n1,0.5\n2,0.125\n", 3), ("epoch,loss\r\n1,0.5\n2,0.25\n", 1), ("epoch,loss\n1,0.5\n", 3)],
)
def test_text_differs_from_a_line_on_and_an_array_somewhere(runs, text, line):
    (runs[1] / "plots/history.csv").write_bytes(text.encode())
    np.save(runs[1] / "data/arrays/train.npy", np.arange(4)[::-1])
    assert differences(*runs) == ["data/arrays/train.npy: other bytes", f"plots/history.csv: from line {line} on"]


def test_file_that_one_run_lacks_is_told_unless_it_is_no_output(runs):
    (runs[1] / "plots/history.csv").unlink()
    (runs[0] / "data/arrays/train.npy").unlink()
    (runs[1] / "plots/seeds/README.md").write_text("an input")
    assert differences(*runs) == ["data/arrays/train.npy: only after", "plots/history.csv: only before"]


def test_base_is_where_the_branch_left_its_upstream_or_the_commit_before(tmp_path):
    def git(*arguments: str) -> str:
        author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        return subprocess.check_output(["git", *author, *arguments], cwd=tmp_path, text=True).strip()

    git("init", "-q", "-b", "main")
    commits = []
    for number in range(4):
        git("commit", "-q", "--allow-empty", "-m", str(number))
        commits.append(git("rev-parse", "HEAD"))
    assert default_base(tmp_path) == commits[2]  # no upstream
    git("branch", "-q", "released", commits[1])
    git("branch", "-q", "--set-upstream-to", "released")
    assert default_base(tmp_path) == commits[1]
    git("branch", "-q", "--force", "released", commits[3])
    assert default_base(tmp_path) == commits[2]  # nothing of its own
