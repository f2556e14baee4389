"""YAML read as DVC reads it, and built into typed sections: frozen dataclasses, each value checked by its annotation.

DVC (``dvc.utils.serialize``) takes a file for UTF-8 and has ruamel.yaml load it with ``typ="safe"``: YAML 1.2, in
which ``010`` is ten, ``1e-05`` a number and ``yes`` a text. So what DVC tracks and what is computed with are one value.
ruamel.yaml is imported by who reads a file: predictions do without.
"""

import dataclasses
import math
import reprlib
import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hw1.run.errors import InputError

SCALARS = {int: "a whole number", float: "a number", bool: "true or false", str: "text (in quotes)"}


def read_yaml(path: str | Path) -> Any:
    """Read a file's one document by :func:`parse_yaml`; InputError also where there is no such file."""
    try:
        return parse_yaml(Path(path).read_bytes(), path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run from the project's root") from None


def parse_yaml(content: bytes, path: str | Path) -> Any:
    """One document as dicts, lists, strings, numbers, booleans and None; {} if empty.

    Raises:
        InputError: not UTF-8, or no valid YAML; it names ``path``.
    """
    from ruamel.yaml import YAML

    try:
        with warnings.catch_warnings(action="ignore"):  # of an anchor's name used again, and of YAML 1.1's ways
            return YAML(typ="safe").load(content.decode("utf-8")) or {}
    except Exception as error:  # beside YAMLError, constructors of odd scalars raise whatever they meet
        reason = textwrap.shorten(str(error) or type(error).__name__, 300)
        raise InputError(f"{path}: not valid YAML: {reason}") from None


@dataclass(frozen=True)
class Range:
    """The closed interval a number must lie in; ``above`` leaves the lower end out."""

    low: float
    high: float = float("inf")
    above: bool = False

    def holds(self, value: float) -> bool:
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.above else f"{self.low:g} or more"
        return low if self.high == float("inf") else f"{low}, at most {self.high:g}"


def section(kind: Any, value: Any, path: str) -> Any:
    """``value`` as an instance of the annotated type ``kind``; ``path`` is its dotted place, '' for the whole file.

    ``kind`` is a dataclass, ``dict[str, ...]``, ``tuple[..., ...]``, ``Literal``, int, float, bool or str, such a type
    ``Annotated`` with a :class:`Range`, or one with ``| None``. A field with a default may be left out.

    Raises:
        InputError: a key that is unknown or missing, or a value of a wrong type or out of range.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Union:  # with None, which is as if the key were not there
        return None if value is None else section(arguments[0], value, path)
    if origin is Annotated:
        built = section(arguments[0], value, path)
        if not arguments[1].holds(built):
            raise _refuse(path, value, str(arguments[1]))
        return built
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise _refuse(path, value, ", ".join(map(str, arguments)))
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise _refuse(path, value, "a list")
        return tuple(section(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    if origin is dict or dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise _refuse(path or "params.yaml", value, "a section of keys")
        return _build_section(kind, value, f"{path}." if path else "")
    if kind is float and type(value) is int and abs(value) < 1e300:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise _refuse(path, value, SCALARS[kind])
    return value


def _build_section(kind: Any, values: dict, prefix: str) -> Any:
    paths = {key: f"{prefix}{textwrap.shorten(str(key), 80)}" for key in values}
    if get_origin(kind) is dict:
        for key in values:
            if not (isinstance(key, str) and key.isidentifier()):
                raise _refuse(paths[key], key, "a name of letters, digits and _ as the key")
        return {key: section(get_args(kind)[1], value, paths[key]) for key, value in values.items()}
    hints = get_type_hints(kind, include_extras=True)
    for key in values:
        if key not in hints:
            raise InputError(f"{paths[key]}: got an unknown key, allowed here: {', '.join(hints)}")
    for field in dataclasses.fields(kind):
        if field.name not in values and field.default is dataclasses.MISSING:
            raise InputError(f"{prefix}{field.name}: missing; presets/ has complete files to copy it from")
    built = {key: section(hints[key], value, paths[key]) for key, value in values.items()}
    try:
        return kind(**built)
    except ValueError as error:
        raise InputError(f"{prefix}{error}") from None


def _refuse(path: str, value: Any, allowed: str) -> InputError:
    try:
        given = reprlib.repr(value)
    except ValueError:  # Python writes out no whole number of more than 4300 digits
        given = "a number of thousands of digits"
    return InputError(f"{path}: got {given}, allowed: {allowed}")


def flat(params: Any, *paths: str) -> dict[str, Any]:
    """The values of a dataclass under the given dotted paths as ``{"finetune.epochs": 3, ...}``: what a run used.

    None, of a key that may be left out and was, is left out.
    """
    values: dict[str, Any] = {}

    def add(node: Any, path: str) -> None:
        if isinstance(node, dict) or dataclasses.is_dataclass(node):
            for key, child in _children(node).items():
                add(child, f"{path}.{key}")
        elif node is not None:
            values[path] = node

    for path in paths:
        node = params
        for key in path.split("."):
            node = _children(node)[key]
        add(node, path)
    return values


def _children(node: Any) -> dict[str, Any]:
    return node if isinstance(node, dict) else vars(node)
