"""YAML read as DVC reads it, so that what it tracks and what is computed with are one value.

DVC (``dvc.utils.serialize``) takes a file for UTF-8 and has ruamel.yaml load it with ``typ="safe"``: YAML 1.2, in
which ``010`` is ten, ``1e-05`` a number and ``yes`` a text. What is added here only refuses more files than it does.
The way back, plain values as text, is here too.
"""

import io
import textwrap
import warnings
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from hw1.run.errors import InputError

MAX_BYTES = 1 << 17  # of a file, a few seconds' work at most; the presets have 10 KiB
MAX_MERGED = 10_000  # keys that all merges of a file write out


def read_yaml(path: str | Path) -> Any:
    """A file's one document as :func:`parse_yaml` gives it.

    Raises:
        InputError: no such file, or one that :func:`parse_yaml` refuses.
    """
    try:
        with open(path, "rb") as file:
            return parse_yaml(file.read(MAX_BYTES + 1), path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run from the project's root") from None


def parse_yaml(content: bytes, path: str | Path) -> Any:
    """One document as dicts, lists, strings, numbers, booleans, None and what else YAML has; {} if empty.

    Raises:
        InputError: more than MAX_BYTES, not UTF-8, no valid YAML, or merges of more than MAX_MERGED keys.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: more than {MAX_BYTES:,} bytes, which is no parameter file; copy one of presets/")
    reader = YAML(typ="safe")
    reader.Constructor = _BoundedConstructor
    try:
        with warnings.catch_warnings(action="ignore"):  # of an anchor's name used again, and of YAML 1.1's ways
            return reader.load(content.decode("utf-8")) or {}
    except Exception as error:  # beside YAMLError, constructors of odd scalars raise whatever they meet
        reason = textwrap.shorten(str(error) or type(error).__name__, 300)
        raise InputError(f"{path}: not valid YAML: {reason}") from None


def yaml_text(values: dict[str, Any]) -> str:
    """Plain values as YAML in block style, keys in their order, every text on one line."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style, writer.sort_base_mapping_type_on_output, writer.width = False, False, 1 << 20
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    writer.dump(values, stream)
    return stream.getvalue()


class _BoundedConstructor(SafeConstructor):
    """ruamel's own, with a bound where merges of merges, or a message, would write a value out again and again."""

    _merged = 0

    def flatten_mapping(self, node: MappingNode) -> None:
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                for source in value.value if isinstance(value, SequenceNode) else [value]:
                    self._count_merge(source)
        super().flatten_mapping(node)

    def _count_merge(self, source: Any) -> None:
        if isinstance(source, MappingNode):  # ruamel refuses all others
            self.flatten_mapping(source)
            self._merged += len(source.value)
            if self._merged > MAX_MERGED:
                raise ConstructorError(None, None, f"merges of more than {MAX_MERGED:,} keys", source.start_mark)

    def check_mapping_key(self, node: Any, key_node: Any, mapping: dict, key: Any, value: Any) -> bool:
        if key in mapping:  # ruamel's message holds both values, of any size
            name = key_node.value if isinstance(key_node, ScalarNode) else "that is no plain name"
            raise ConstructorError(None, None, f"key {name!r} twice", key_node.start_mark)
        return True
