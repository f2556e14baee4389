"""YAML is read as DVC reads it: to equal values of equal types, or not at all."""

import subprocess
import sys

import pytest
from closure import ROOT
from dvc.dependency.param import read_param_file
from dvc.fs import localfs

from hw1.run.errors import InputError
from hw1.run.parameters.yaml_reader import read_yaml

SCALARS = (
    *("010", "0o17", "0x1F", "0b101", "1_000", "-0", "+12", "1__0", "0_", "0o", "08", "1,5"),
    *("1e-05", "1e5", "1E5", ".5", "-.5", "5.", "1_0.5", "1.5e3", "1.e-3", "1e400", "0x1.8p1"),
    *("+.inf", "-.INF", ".nan", "nan", "inf", "null", "~", "Null", ""),
    *("yes", "no", "on", "off", "y", "N", "true", "True", "TRUE", "tRUE"),
    *("12:30:45", "1:30", "2023-02-03", "2023-02-03T04:05:06Z", "2023-2-3"),
    *("!!float 1", "!!str 010", "!!int '7'", "!!bool yes", "!!null ''"),
    *("'010'", '"\\x41"', "a # b", "a#b", "[1, [010], {a: .5}]", "|\n a\n b", ">\n a\n b"),
)
DOCUMENTS = {
    "an anchor and its aliases": "a: &x [1, 2]\nb: *x\nc: {d: *x}\n",
    "an anchor's name used again": "a: &x 1\nb: *x\nc: &x 2\nd: *x\n",
    "a merge": "a: &x {k: 1, l: 2}\nb: {l: 3, <<: *x}\n",
    "merges in a row": "a: &x {k: 1}\nb: &y {k: 2, l: 2}\nc: {<<: [*x, *y], m: 3}\nd: {<<: [*y, *x]}\n",
    "a merge of merges": "a: &x {k: 1}\nb: &y {<<: *x, l: 2}\nc: {<<: *y, k: 3}\n",
    "a key beside its merge twice": "a: &x {k: 1}\nb: {<<: *x, l: 2, l: 3}\n",
    "keys that are no text": "010: a\n1e2: b\nyes: c\ntrue: d\n~: e\n2023-02-03: f\n",
    "YAML 1.1 by its directive": "%YAML 1.1\n---\na: 010\nb: yes\nc: 1:30\nd: 1e5\n",
    "Windows lines": "a: 1\r\nb: |\r\n  c\r\n  d\r\n",
    "a byte order mark": "\ufeffa: 1\n",
    "nothing": "",
    "an empty list": "[]",
    "a comment": "# a: 1\n",
    "a preset": (ROOT / "presets/paper.yaml").read_text(),
}
REFUSED = {
    "a key twice": "a: 1\nb: 2\na: 1\n",
    "a key twice in two spellings": "10: a\n010: b\n",
    "a merge twice": "a: &x {k: 1}\nb: {<<: *x, <<: *x}\n",
    "two documents": "a: 1\n---\na: 2\n",
    "an equals sign": "a: =\n",
    "an alias of nothing": "a: *x\n",
    "a tag of its own": "a: !b 1\n",
    "a tab": "a:\n\tb: 1\n",
    "no UTF-8": "a: é\n".encode("latin-1"),
    "UTF-16": "a: 1\n".encode("utf-16"),
}


def put(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.filterwarnings("ignore")  # DVC lets ruamel.yaml's through
@pytest.mark.parametrize("text", [*(f"a: {scalar}\nb: 1\n" for scalar in SCALARS), *DOCUMENTS])
def test_document_is_what_dvc_tracks(tmp_path, text):
    path = put(tmp_path, DOCUMENTS.get(text, text))
    assert repr(read_yaml(path)) == repr(read_param_file(localfs, path))  # tells types, and is equal for not-a-number


@pytest.mark.filterwarnings("error")
def test_odd_but_right_file_is_read_without_a_warning(tmp_path):
    assert read_yaml(put(tmp_path, DOCUMENTS["an anchor's name used again"])) == {"a": 1, "b": 1, "c": 2, "d": 2}


@pytest.mark.parametrize("name", REFUSED)
def test_document_that_dvc_refuses_is_refused(tmp_path, name):
    path = put(tmp_path, REFUSED[name])
    with pytest.raises(Exception):  # noqa: B017  its parser's own errors come through too
        read_param_file(localfs, path)
    with pytest.raises(InputError, match=r"not valid YAML"):
        read_yaml(path)


def test_parameters_are_there_without_the_reader_dvc_and_torch():
    code = "import sys, hw1.run.parameters.params; print({'ruamel', 'dvc', 'torch', 'yaml'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "set()\n"
