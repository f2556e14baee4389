"""params.yaml: what loads, and the one line that says why something does not."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from closure import ROOT

from hw1.run.errors import InputError
from hw1.run.parameters.params import Params, flat, load

QUICK = (ROOT / "presets/quick.yaml").read_text()


def outcome(tmp_path: Path, content: str | bytes) -> Params | str:
    """The parameters, or the one line that says why there are none."""
    path = tmp_path / "params.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        return load(path)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 800
        return str(error)


def tree(preset: str) -> dict:
    return yaml.safe_load((ROOT / f"presets/{preset}.yaml").read_text())


def keys(node: object, path: str = "") -> set[str]:
    if not isinstance(node, dict):
        return {path}
    return set().union(*(keys(value, f"{path}.{key}") for key, value in node.items()))


@pytest.mark.parametrize("preset, trained", [("quick", "classifier"), ("paper", "classifier"), ("code", "full")])
def test_preset_loads(preset, trained):
    assert load(ROOT / f"presets/{preset}.yaml").settings["D"].train == trained


def test_presets_have_the_same_keys():
    own = {key for key in keys(tree("code")) if key.endswith(".gamma") or key.startswith(".settings.")}
    assert keys(tree("quick")) == keys(tree("paper")) >= keys(tree("code")) - own
    assert keys(tree("paper")) - keys(tree("code")) == set()


def test_setting_trains_as_finetune_says_but_for_what_it_has_of_its_own():
    params = load(ROOT / "presets/code.yaml")
    first, third = params.finetuning("A"), params.finetuning("C")
    assert (first.lr, first.epochs, first.schedule, first.gamma) == (0.0005, 50, "exponential", 0.9)
    assert (third.lr, third.epochs, third.batch_size, third.augmentation) == (0.001, 600, 256, "trivial128")
    assert (third.schedule, third.optimiser) == ("constant", "adam")
    assert params.settings["A"].meaning == ("scratch", "full")
    assert params.settings["E"].meaning == ("byol", "full", 0.001, 50, 256, "constant", "trivial128")


@pytest.mark.parametrize("preset", ["quick", "paper", "code"])
def test_every_value_of_a_preset_has_its_comment(preset):
    lines = map(str.strip, (ROOT / f"presets/{preset}.yaml").read_text().splitlines())
    allowed = re.compile(r".*#.*|.*:|(.{0,9}backbone: |[A-E]: \{).*|")
    assert [line for line in lines if not allowed.fullmatch(line)] == []


@pytest.mark.parametrize("text", ["1e-05", "1e-5", "3e-4", "0.00001", "1.5E-3", "1"])
def test_number_as_dvc_or_a_hand_writes_it_is_a_float(tmp_path, text):
    lr = outcome(tmp_path, QUICK.replace("lr: 0.0005", f"lr: {text}", 1)).lr
    assert type(lr) is float and lr == float(text)


LR, SEED, COSINE, EXPONENTIAL = "lr: 0.0005 ", "seed: 101 ", "schedule: cosine ", "schedule: exponential"
WEIGHTS = "weights: mini               # "
BYOL = "{backbone: byol, train: full}"
FULL = "train: full}\n  C"
MISTAKES = [
    (LR, "lr: fast ", "lr: got 'fast', allowed: a number"),
    (LR, "lr: 0 ", "lr: got 0, allowed: above 0"),
    (LR, "lr: .inf ", "lr: got inf, allowed: a number"),
    (SEED, "seed: 1.5 ", "seed: got 1.5, allowed: a whole number"),
    (SEED, "seed: true ", "seed: got True, allowed: a whole number"),
    (SEED, "seed: yes ", "seed: got 'yes', allowed: a whole number"),
    (SEED, "seed: 1\nseed: 2 ", 'duplicate key "seed"'),
    (SEED, "seed: [1 ", "not valid YAML"),
    ("batch_size: 32 ", "batch_size: 0 ", "pretrain.byol.batch_size: got 0, allowed: 2 or more"),
    ("deterministic: false", "deterministic: 0", "runtime.deterministic: got 0, allowed: true or false"),
    ("device: auto", "device: tpu", "runtime.device: got 'tpu', allowed: auto, cpu, cuda"),
    ("resident_share:", "resident_shar:", "runtime.resident_shar: got an unknown key, allowed here: numerics"),
    ("threads: 1 ", "threads: 0 ", "runtime.threads: got 0, allowed with numerics portable: 1 or more"),
    ("precision: fp32", "precision: bf16", "runtime.precision: got bf16, allowed with numerics portable: auto, fp32"),
    ("backbone: resnet10", "backbone: resnet19", "backbone: got 'resnet19', allowed: resnet10, resnet18,"),
    (BYOL, "{backbone: F, train: full}", "settings.C.backbone: got 'F', allowed: scratch"),
    (BYOL, "F", "settings.C: got 'F', allowed: a section of keys"),
    ("  E: {", "  image: {", "settings.image: got a name of another column, allowed: any other"),
    ("  sha256: ''", "  #", "data.sha256: missing"),
    ("sha256: ''", "sha256: abc", "data.sha256: got 'abc', allowed: '' or 64"),
    (COSINE, f"{EXPONENTIAL} ", "finetune.gamma: missing; schedule exponential needs the factor"),
    (COSINE, f"{EXPONENTIAL}\n  gamma: 2 ", "finetune.gamma: got 2, allowed: above 0, at most 1"),
    (FULL, f"train: full, {EXPONENTIAL}}}\n  C", "settings.B.gamma: missing; schedule"),
    (FULL, "train: full, epoch: 3}\n  C", "settings.B.epoch: got an unknown key, allowed here: backbone"),
    (f"{WEIGHTS}paper imagenet", "weights: coco #", "segment.A.weights: got 'coco', allowed with"),
    (f"{WEIGHTS}report: imagenet", "weights: imagenet #", "classify.B.weights: got 'imagenet'"),
    ("keep: last", "keep: first", "evaluate.keep: got 'first', allowed: last, best"),
    ("crop: 32, filter", "crop: 320, filter", "prepare.mini.crop: got 320, allowed: at most resize, 32"),
    ("mask_ids: ['0013'", "mask_ids: [13", "evaluate.mask_ids[0]: got 13, allowed: text"),
]


@pytest.mark.parametrize("old, new, message", MISTAKES)
def test_error_names_the_key_what_was_given_and_what_is_allowed(tmp_path, old, new, message):
    assert old in QUICK
    assert message in outcome(tmp_path, QUICK.replace(old, new, 1))


def test_missing_file_and_unknown_setting_are_told(tmp_path):
    with pytest.raises(InputError, match=r"params\.yaml: No such file"):
        load(tmp_path / "params.yaml")
    with pytest.raises(InputError, match=r"settings\.F: not in params\.yaml, allowed: A, B, C, D, E"):
        load(ROOT / "presets/quick.yaml").setting("F")


def test_nothing_can_be_changed_after_loading():
    with pytest.raises(AttributeError):
        load(ROOT / "presets/quick.yaml").finetune.epochs = 1


def test_flat_lists_the_leaves_under_the_given_paths():
    values = flat(load(ROOT / "presets/quick.yaml"), "lr", "settings.C", "pretrain.byol")
    assert values.items() >= {"lr": 0.0005, "settings.C.backbone": "byol"}.items()
    assert "pretrain.byol.hidden" in values and "pretrain.supervised.epochs" not in values


WRONG = {
    "nothing": "",
    "a list": "- 1\n- 2\n",
    "a number": "7",
    "zero bytes": "seed: 1\0\n",
    "an alias of itself": QUICK.replace(SEED, "seed: &a [*a] "),
    "a list as a key": QUICK + "\n? [1, 2]\n: 3\n",
    "an unknown key of a thousand letters": QUICK + f"\n{'k' * 1000}: 2\n",
    "an unknown key with a line break": QUICK + '\n"a\\nb": 2\n',
    "a key of null": QUICK + "\n~: 2\n",
    "a setting's name of null": QUICK.replace("settings:", "settings:\n  ~: {backbone: byol, train: full}\n"),
    "code": QUICK.replace(SEED, "seed: !!python/object/apply:os.system ['true'] "),
    "a set": QUICK.replace(SEED, "seed: !!set {a, b} "),
    "bytes": QUICK.replace(SEED, "seed: !!binary AAAA "),
    "an empty whole number": QUICK.replace(SEED, "seed: !!int '' "),
    "a day there is not": QUICK.replace(SEED, "seed: 2023-02-31 "),
    "a number of 5000 digits": QUICK.replace(SEED, f"seed: {'9' * 5000} "),
    "a hexadecimal number of 5000 digits": QUICK.replace(SEED, f"seed: 0x{'f' * 5000} "),
    "a rate of 4000 digits": QUICK.replace(LR, f"lr: {'9' * 4000} ", 1),
    "a rate that is no number": QUICK.replace(LR, "lr: .nan ", 1),
    "text of a thousand letters": QUICK.replace(SEED, f"seed: {'x' * 1000} "),
    **{f"the first {tenth} tenths": QUICK[: len(QUICK) * tenth // 10] for tenth in range(1, 10)},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_file_is_refused_in_one_line(tmp_path, name):
    assert WRONG[name] != QUICK
    assert isinstance(outcome(tmp_path, WRONG[name]), str)


@pytest.mark.parametrize("seed", range(10))
def test_file_with_bytes_changed_loads_or_is_refused_in_one_line(tmp_path, seed):
    content, draw = bytearray(QUICK.encode()), np.random.default_rng(seed)
    for place in draw.integers(0, len(content), 1 + seed):
        content[place] = draw.integers(256)
    assert isinstance(outcome(tmp_path, bytes(content)), (Params, str))


def test_odd_file_is_read(tmp_path):
    odd = "\ufeff---\n" + QUICK.replace(SEED, "seed: &one 101 ").replace(
        "  E: {backbone: byol, train: classifier}",
        "  E:\n    <<: [{backbone: byol}, {backbone: scratch, train: full}]\n    train: classifier",
    ).replace("\n", "\r\n")
    assert outcome(tmp_path, odd) == load(ROOT / "presets/quick.yaml")
