"""On the PYTHONPATH of processes that tests start: a short import of torchvision, and which parameters a stage reads.

With WITHOUT_COMPILER set, the stand-in for torch's compiler that stages have is in every process
(hw1/run/processes/numerics.py).

With PARAMS_TRACE set, every attribute read of a loaded Params appends its dotted path to
``$PARAMS_TRACE/{stage}.txt`` at exit. ``vars()``, by which a run's parameters are recorded, is not a read.
"""

import atexit
import dataclasses
import os
import sys
from pathlib import Path

_paths: dict[int, str] = {}
_read: set[str] = set()
_alive: list[object] = []  # keeps ids unique


class _Names(dict):
    """A section of named entries: going over its names is a read of the section."""

    def __iter__(self):
        _read.add(_paths[id(self)])
        return super().__iter__()

    def items(self):
        _read.add(_paths[id(self)])
        return super().items()


def _register(node: object, path: str) -> None:
    _paths[id(node)] = path
    _alive.append(node)
    for key, value in dict.items(node if isinstance(node, dict) else vars(node)):
        if dataclasses.is_dataclass(value) or isinstance(value, dict):
            _register(value, f"{path}.{key}" if path else key)


def _get(self: object, name: str) -> object:
    value = object.__getattribute__(self, name)
    path = _paths.get(id(self))
    is_section = dataclasses.is_dataclass(value) or isinstance(value, dict)
    if path is not None and name in type(self).__dataclass_fields__ and not is_section:
        _read.add(f"{path}.{name}" if path else name)
    return value


def _write() -> None:
    Path(os.environ["PARAMS_TRACE"], f"{os.environ['DVC_STAGE']}.txt").write_text("\n".join(sorted(_read)))


def _watch() -> None:
    sys.path.insert(0, os.getcwd())  # as `python -m` will do later
    from hw1.run.parameters import params

    sys.path.pop(0)
    original = params.load

    def load(*arguments: object) -> params.Params:
        loaded = original(*arguments)
        object.__setattr__(loaded, "settings", _Names(loaded.settings))
        _register(loaded, "")
        atexit.register(_write)
        return loaded

    params.load = load
    for kind in vars(params).values():
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind is not params.Range:
            kind.__getattribute__ = _get


if os.environ.get("WITHOUT_COMPILER"):
    from hw1.run.processes.numerics import stand_in

    stand_in()
if "PARAMS_TRACE" in os.environ and "DVC_STAGE" in os.environ:
    _watch()
