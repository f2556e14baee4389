"""Typed sections: frozen dataclasses from plain values, each checked against its annotation, and back.

A type is a dataclass, ``dict[str, ...]``, ``tuple[..., ...]``, ``Literal``, int, float, bool or str; ``Annotated`` adds
a :class:`Range`. A field with a default may be left out. What does not fit is one line that names the key's path, what
was given and what is allowed.
"""

import dataclasses
import reprlib
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hw1.run.errors import InputError


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

    Raises:
        InputError: a key that is unknown or missing, or a value of a wrong type or out of range.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):  # of one type and None, which is as if the key were not there
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
        return _build_section(kind, value, path)
    return _build_scalar(kind, value, path)


def _build_section(kind: Any, values: dict, path: str) -> Any:
    prefix = f"{path}." if path else ""
    if get_origin(kind) is dict:
        for key in values:
            if not (isinstance(key, str) and key.isidentifier()):
                raise _refuse(f"{prefix}{_name(key)}", key, "a name of letters, digits and _ as the key")
        return {key: section(get_args(kind)[1], value, f"{prefix}{key}") for key, value in values.items()}
    hints = get_type_hints(kind, include_extras=True)
    for key in values:
        if key not in hints:
            raise InputError(f"{prefix}{_name(key)}: got an unknown key, allowed here: {', '.join(hints)}")
    for field in dataclasses.fields(kind):
        if field.name not in values and field.default is dataclasses.MISSING:
            raise InputError(f"{prefix}{field.name}: missing; presets/ has complete files to copy it from")
    built = {key: section(hints[key], value, f"{prefix}{key}") for key, value in values.items()}
    try:
        return kind(**built)
    except ValueError as error:
        raise InputError(f"{prefix}{error}") from None


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text (in quotes)"}


def _build_scalar(kind: type, value: Any, path: str) -> Any:
    if kind is float and type(value) is int and abs(value) < 1e300:
        value = float(value)
    if type(value) is not kind or value in (float("inf"), float("-inf")) or value != value:
        raise _refuse(path, value, _NAMES[kind])
    return value


def _refuse(path: str, value: Any, allowed: str) -> InputError:
    return InputError(f"{path}: got {_short(value)}, allowed: {allowed}")


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 80, 80


def _short(value: Any) -> str:
    """``repr`` of at most a line, whatever a file holds."""
    try:
        return _REPR.repr(value)
    except ValueError:  # Python writes out no numbers of more than 4300 digits
        return "a number of thousands of digits"


def _name(key: Any) -> str:
    return key if isinstance(key, str) and key.isidentifier() and len(key) <= 80 else _short(key)


def flat(params: Any, *paths: str) -> dict[str, Any]:
    """The values of a dataclass under the given dotted paths as ``{"finetune.epochs": 3, ...}``: what a run used.

    None, of a key that may be left out and was, is left out.
    """
    values: dict[str, Any] = {}
    for path in paths:
        node: Any = params
        for key in path.split("."):
            node = _children(node)[key]
        _flatten(node, path, values)
    return values


def _flatten(node: Any, path: str, into: dict[str, Any]) -> None:
    if dataclasses.is_dataclass(node) or isinstance(node, dict):
        for key, value in _children(node).items():
            _flatten(value, f"{path}.{key}", into)
    elif node is not None:
        into[path] = node


def _children(node: Any) -> dict[str, Any]:
    return node if isinstance(node, dict) else vars(node)
