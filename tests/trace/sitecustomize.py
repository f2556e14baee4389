"""Put on PYTHONPATH by tests/test_pipeline.py: notes which parameters each stage reads.

Every attribute read of a loaded Params appends its dotted path to ``$PARAMS_TRACE/{stage}.txt`` at exit.
``vars()``, by which a run's parameters are recorded, is not a read.
"""

import atexit
import dataclasses
import os
from pathlib import Path

from hw1 import params

_paths: dict[int, str] = {}
_read: set[str] = set()
_alive: list[object] = []  # keeps ids unique


def _register(node: object, path: str) -> None:
    _paths[id(node)] = path
    _alive.append(node)
    for key, value in (node if isinstance(node, dict) else vars(node)).items():
        if dataclasses.is_dataclass(value) or isinstance(value, dict):
            _register(value, f"{path}.{key}" if path else key)


def _get(self: object, name: str) -> object:
    value = object.__getattribute__(self, name)
    path = _paths.get(id(self))
    if path is not None and name in type(self).__dataclass_fields__ and not dataclasses.is_dataclass(value):
        _read.add(f"{path}.{name}" if path else name)
    return value


def _load(*arguments: object) -> params.Params:
    loaded = _original(*arguments)
    _register(loaded, "")
    return loaded


@atexit.register
def _write() -> None:
    if _read and "DVC_STAGE" in os.environ:
        Path(os.environ["PARAMS_TRACE"], f"{os.environ['DVC_STAGE']}.txt").write_text("\n".join(sorted(_read)))


_original, params.load = params.load, _load
for _kind in vars(params).values():
    if isinstance(_kind, type) and dataclasses.is_dataclass(_kind) and _kind is not params.Range:
        _kind.__getattribute__ = _get
