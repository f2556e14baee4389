"""Accuracies over a parameter, from experiments as DVC leaves them in git."""

import json

import pytest
import yaml
from PIL import Image

from hw1.experiments import across
from hw1.experiments.across import draw, points
from hw1.run.errors import InputError
from hw1.run.files import folder_hash
from hw1.run.lockfile import leaves

PARAMS = "seed: 1\nlr: {lr}\nfinetune: {{epochs: {epochs}, optimiser: adam}}\nsettings: {{A: 1, B: 2}}\n"
LOCK = """stages:
  finetune@A: {{cmd: a, outs: [{{path: models/history/finetune/A.csv, md5: {a}}}]}}
  finetune@B: {{cmd: b, outs: [{{path: models/history/finetune/B.csv, md5: bb}}, {{path: b, md5: hh}}]}}
  evaluate@p2: {{cmd: e, deps: [{{path: models/history/finetune, md5: {scored}}}]}}
"""
SCORED = folder_hash({"A.csv": "aa", "B.csv": "bb"})


def metrics(a, b):
    return json.dumps({"accuracy": {"A": a, "B": b}})


PREDICTIONS = "image,label,A,B\n" + "0001,0,0,0\n" * 40


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    """The working tree with lr 0.1, and experiments whose files are in a dict in the place of DVC."""
    monkeypatch.chdir(tmp_path)
    for folder in ("metrics", "plots/predictions"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "params.yaml").write_text(PARAMS.format(lr=0.1, epochs=3))
    (tmp_path / "metrics/p2.json").write_text(metrics(0.5, 0.75))
    (tmp_path / "plots/predictions/p2.csv").write_text(PREDICTIONS)
    files = {}
    for name, lr, epochs, accuracy in (("high", 1, 3, 0.25), ("low", 1e-2, 3, 0.375), ("longer", 1e-3, 9, 0.9)):
        files[name, "params.yaml"] = PARAMS.format(lr=lr, epochs=epochs)
        files[name, "metrics/p2.json"] = metrics(accuracy, accuracy)
        files[name, "dvc.lock"] = LOCK.format(a="aa", scored=SCORED)
        files[name, "plots/predictions/p2.csv"] = PREDICTIONS

    def text_of(path, name=None):
        if name == "twice":
            raise InputError(f"{path} of twice: ambiguous Git revision 'twice'")
        return files[name, path] if name else (tmp_path / path).read_text()

    def parameters_of(name=None):
        return dict(leaves(yaml.safe_load(text_of("params.yaml", name))))

    monkeypatch.setattr(across, "finished", lambda: sorted({"twice", *(name for name, _ in files)}))
    monkeypatch.setattr(across, "text_of", text_of)
    monkeypatch.setattr(across, "parameters_of", parameters_of)
    return files


def test_experiments_that_vary_the_parameter_alone_are_taken_in_its_order_and_drawn_a_line_each(experiments, tmp_path):
    experiments["older", "params.yaml"] = "seed: 1\n"
    taken = points("lr")
    assert taken.to_dict("list") == {
        "experiment": ["low", "working tree", "high"],
        "images": [40, 40, 40],
        "lr": [0.01, 0.1, 1.0],
        "A": [0.375, 0.5, 0.25],
        "B": [0.375, 0.75, 0.25],
    }
    draw(taken, "lr", tmp_path / "lr.png")
    with Image.open(tmp_path / "lr.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(0, 114, 178), (213, 94, 0)} <= colours


@pytest.mark.parametrize("lock", [LOCK.format(a="newer", scored=SCORED), "stages: {}"])
def test_experiment_whose_models_were_not_scored_is_left_out(lock, experiments):
    """`dvc exp run -S lr=1 finetune@A` leaves the numbers of before."""
    experiments["high", "dvc.lock"] = lock
    assert list(points("lr")["experiment"]) == ["low", "working tree"]


@pytest.mark.parametrize(
    "key, message",
    [
        ("finetune.epochs", "finetune.epochs: no finished experiment varies it alone"),
        ("finetune.optimiser", "finetune.optimiser: is 'adam' in params.yaml; give a parameter that is a number"),
        ("finetune.rate", "finetune.rate: not in params.yaml"),
        ("lr.rate", "lr.rate: not in params.yaml"),
    ],
)
def test_key_over_which_nothing_can_be_drawn_is_named(key, message, experiments):
    with pytest.raises(InputError, match=f"^{message}"):
        points(key)
