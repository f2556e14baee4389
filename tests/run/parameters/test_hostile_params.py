"""Damaged, odd and hostile parameter files: each loads rightly or is refused in one line of bounded length."""

import numpy as np
import pytest
from closure import ROOT
from limits import limits

from hw1.run.errors import InputError
from hw1.run.parameters.params import Params, load
from hw1.run.parameters.yaml_reader import MAX_BYTES

SECONDS = 10  # a case may take
MEMORY = 200 << 20  # bytes a case may add to the most this process ever held
QUICK = (ROOT / "presets/quick.yaml").read_text()


@pytest.fixture(autouse=True)
def bounded():
    with limits(SECONDS, MEMORY):
        yield


def outcome(tmp_path, content):
    """The parameters, or the one line that says why there are none."""
    path = tmp_path / "params.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        return load(path)
    except InputError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 800
        return str(error)


@pytest.mark.parametrize("index", range(40))
def test_truncated_file(tmp_path, index):
    content = QUICK[: len(QUICK) * index // 40]
    assert isinstance(outcome(tmp_path, content), str)


@pytest.mark.parametrize("seed", range(60))
def test_file_with_bytes_changed(tmp_path, seed):
    data, draw = bytearray(QUICK.encode()), np.random.default_rng(seed)
    for place in draw.integers(0, len(data), 1 + seed % 9):
        data[place] = draw.integers(256)
    assert isinstance(outcome(tmp_path, bytes(data)), (Params, str))


def bomb(levels, line):
    """Aliases of aliases: each level holds the one before ten times."""
    lines = [line.format(name="a0", items="[x]")]
    lines += [line.format(name=f"a{n}", items=f"[{', '.join([f'*a{n - 1}'] * 10)}]") for n in range(1, levels)]
    return "\n".join(lines)


def merge_bomb(levels):
    lines = ["m0: &m0 {k: 1}"]
    lines += [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


def wide_merges():
    keys = ", ".join(f"k{number}: 0" for number in range(9_000))
    return f"a: &x {{{keys}}}\nb: {{<<: [{'*x, ' * 4_000}]}}\n"


SEED = "seed: 101 "
WRONG = {
    "nothing": "",
    "a comment": "# nothing\n",
    "a list": "- 1\n- 2\n",
    "a number": "7",
    "zero bytes": "seed: 1\0\n",
    "Latin-1": "seed: é".encode("latin-1"),
    "UTF-16, which DVC does not read either": QUICK.encode("utf-16"),
    "two documents": f"{QUICK}\n---\nseed: 2\n",
    "tabs": "seed:\t1\n\tlr: 2\n",
    "more bytes than allowed": "#" * (MAX_BYTES + 1),
    "aliases of aliases": bomb(40, "{name}: &{name} {items}"),
    "aliases of aliases as a seed": QUICK.replace(SEED, bomb(30, "x{name}: &{name} {items}") + "\nseed: *a29 "),
    "merged merges": merge_bomb(40),
    "one merge of many keys many times": wide_merges(),
    "a key of aliases of aliases twice": bomb(40, "{name}: &{name} {items}") + "\nb: {x: *a39, x: *a39}\n",
    "aliases of aliases as a key": bomb(40, "{name}: &{name} {items}") + "\nb: {? *a39 : 1}\n",
    "an alias of itself": QUICK.replace(SEED, "seed: &a [*a] "),
    "a merge of itself": QUICK.replace("settings:", "settings: &s\n  <<: *s\n  F: {}\nold:"),
    "an unknown alias": QUICK.replace(SEED, "seed: *nowhere "),
    "a hundred thousand brackets": "seed: " + "[" * 100_000,
    "thirty thousand braces": "seed: " + "{a: " * 30_000,
    "a key twice": QUICK + "\nseed: 2\n",
    "a list as a key": QUICK + "\n? [1, 2]\n: 3\n",
    "a section as a key": QUICK + "\n? {a: 1}\n: 3\n",
    "an unknown key": QUICK + "\nsead: 2\n",
    "an unknown key of a hundred thousand letters": QUICK + f"\n{'k' * 100_000}: 2\n",
    "an unknown key with a line break": QUICK + '\n"a\\nb": 2\n',
    "a key of null": QUICK + "\n~: 2\n",
    "a setting's name of null": QUICK.replace("settings:", "settings:\n  ~: {backbone: byol, train: full}\n"),
    "code": QUICK.replace(SEED, "seed: !!python/object/apply:os.system ['true'] "),
    "a tag of its own": QUICK.replace(SEED, "seed: !seed 1 "),
    "a set": QUICK.replace(SEED, "seed: !!set {a, b} "),
    "bytes": QUICK.replace(SEED, "seed: !!binary AAAA "),
    "no base64": QUICK.replace(SEED, "seed: !!binary ~ "),
    "an empty whole number": QUICK.replace(SEED, "seed: !!int '' "),
    "an empty number": QUICK.replace(SEED, "seed: !!float '' "),
    "neither true nor false": QUICK.replace(SEED, "seed: !!bool maybe "),
    "no time": QUICK.replace(SEED, "seed: !!timestamp maybe "),
    "a day there is not": QUICK.replace(SEED, "seed: 2023-02-31 "),
    "a day": QUICK.replace(SEED, "seed: 2023-02-03 "),
    "a number of 5000 digits": QUICK.replace(SEED, f"seed: {'9' * 5000} "),
    "a number of 4000 digits": QUICK.replace(SEED, f"seed: {'9' * 4000} "),
    "a hexadecimal number of 5000 digits": QUICK.replace(SEED, f"seed: 0x{'f' * 5000} "),
    "a rate of 4000 digits": QUICK.replace("lr: 0.0005  ", f"lr: {'9' * 4000} ", 1),
    "a rate that is no number": QUICK.replace("lr: 0.0005  ", "lr: .nan ", 1),
    "an endless rate": QUICK.replace("lr: 0.0005  ", "lr: .inf ", 1),
    "a rate of 1e400": QUICK.replace("lr: 0.0005  ", "lr: 1e400 ", 1),
    "a rate of zero": QUICK.replace("lr: 0.0005  ", "lr: 0 ", 1),
    "a true seed": QUICK.replace(SEED, "seed: true "),
    "a seed of text": QUICK.replace(SEED, "seed: '1' "),
    "a seed below zero": QUICK.replace(SEED, "seed: -1 "),
    "a seed with a point": QUICK.replace(SEED, "seed: 1.0 "),
    "text of a hundred thousand letters": QUICK.replace(SEED, f"seed: {'x' * 100_000} "),
    "a list of as many as fit": f"seed: [{'1,' * (MAX_BYTES // 2 - 10)}]",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_file_is_refused(tmp_path, name):
    assert WRONG[name] != QUICK
    assert isinstance(outcome(tmp_path, WRONG[name]), str)


RIGHT = {
    "byte order mark": "\ufeff" + QUICK,
    "Windows lines": QUICK.replace("\n", "\r\n"),
    "a document's begin and end": f"---\n{QUICK}\n...\n",
    "an alias": QUICK.replace(SEED, "seed: &one 101 "),
    "a merge": QUICK.replace(
        "  E: {backbone: byol, train: classifier}", "  E:\n    <<: {backbone: byol, train: full}\n    train: classifier"
    ),
    "merges in a row": QUICK.replace(
        "  E: {backbone: byol, train: classifier}",
        "  E:\n    <<: [{backbone: byol}, {backbone: scratch, train: classifier}]",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_odd_file_is_read(tmp_path, name):
    assert RIGHT[name] != QUICK
    assert outcome(tmp_path, RIGHT[name]) == load(ROOT / "presets/quick.yaml")
