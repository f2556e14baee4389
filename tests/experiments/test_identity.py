"""What an experiment's identity follows from."""

import pytest
import yaml

from hw1.experiments.pipeline import identity

LOCK = {
    "download": {"cmd": "get", "params": {"params.yaml": {"data": "x"}}, "outs": [{"path": "raw.zip", "md5": "z"}]},
    "pretrain": {
        "cmd": "pretrain",
        "deps": [{"path": "raw.zip", "md5": "z"}, {"path": "pretrain.py", "md5": "p"}],
        "params": {"params.yaml": {"seed": 1, "lr": 0.1}, "environment.json": {"torch": "2.15.0"}},
        "outs": [{"path": "models/byol", "md5": "b1"}],
    },
    "finetune@A": {
        "cmd": "finetune A",
        "deps": [{"path": "models/byol", "md5": "b1"}, {"path": "finetune.py", "md5": "f"}],
        "params": {"params.yaml": {"seed": 1}},
        "outs": [{"path": "models/finetune/A", "md5": "a1"}],
    },
    "evaluate": {
        "cmd": "evaluate",
        "deps": [{"path": "models/finetune", "md5": "m1"}, {"path": "evaluate.py", "md5": "e"}],
        "outs": [{"path": "metrics.json", "md5": "j1"}],
    },
    "segment": {"cmd": "segment", "deps": [{"path": "segment.py", "md5": "s"}], "outs": [{"path": "s", "md5": "s1"}]},
}


@pytest.fixture
def identity_with():
    def of(*changes):
        """With the value at each path of keys changed."""
        lock = yaml.safe_load(yaml.safe_dump(LOCK))
        for *path, key, value in changes:
            node = lock
            for step in path:
                node = node[step]
            node[key] = value
        return identity(yaml.safe_dump({"stages": lock}), "evaluate", apart_from="seed")

    return of


def test_seed_and_what_it_changes_do_not_matter(identity_with):
    seed = [("pretrain", "params", "params.yaml", "seed", 2), ("finetune@A", "params", "params.yaml", "seed", 2)]
    made = [
        ("pretrain", "outs", 0, "md5", "b2"),
        ("finetune@A", "deps", 0, "md5", "b2"),
        ("finetune@A", "outs", 0, "md5", "a2"),
        ("evaluate", "deps", 0, "md5", "m2"),
        ("evaluate", "outs", 0, "md5", "j2"),
    ]
    assert identity_with(*seed, *made) == identity_with()


@pytest.mark.parametrize(
    "change",
    [
        ("download", "outs", 0, "md5", "another archive"),
        ("pretrain", "params", "params.yaml", "lr", 0.2),
        ("pretrain", "params", "environment.json", "torch", "2.16.0"),
        ("pretrain", "deps", 1, "md5", "another pretrain.py"),
        ("finetune@A", "deps", 1, "md5", "another finetune.py"),
        ("evaluate", "cmd", "evaluate otherwise"),
    ],
)
def test_whatever_else_comes_before_matters(change, identity_with):
    assert identity_with(change) != identity_with()


def test_other_stages_do_not_matter(identity_with):
    assert identity_with(("segment", "deps", 0, "md5", "another segment.py")) == identity_with()
