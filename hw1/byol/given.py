"""Weights that people bring: state dicts as other programs saved them, read without running code.

Containers such as ``{"state_dict": ...}`` and prefixes such as DataParallel's ``module.`` are read as one dotted prefix
of the network's own names, and taken off.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hw1.engine.weights import Tensors, load_tensors
from hw1.run.errors import InputError

COUNTER = "num_batches_tracked"  # of BatchNorm; older files have none, and no result depends on it
NAMED = 4  # names that a line gives before it counts


def load_given(module: nn.Module, path: Path, wanted: str, drop: tuple[str, ...]) -> list[str]:
    """Fill ``module``, the network called ``wanted``, from a given file; return what the user must know of it.

    Names that start with one of ``drop`` are the classifier that is not wanted.

    Raises:
        InputError: no file of plain tensors; weights of another network, or of several; numbers that are not finite.
    """
    tensors, state = read_tensors(path), module.state_dict()
    needed = {name: tensor for name, tensor in state.items() if not name.endswith(COUNTER)}
    longest = max(needed, key=len)  # the rarest name
    prefixes = [name.removesuffix(longest) for name in tensors if f".{name}".endswith(f".{longest}")] or [""]
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    lacking = {each: [name for name in needed if shapes.get(each + name) != needed[name].shape] for each in prefixes}
    prefix = min(prefixes, key=lambda each: len(lacking[each]))
    if lacking[prefix]:
        raise InputError(f"{path}: no weights of {wanted}, without {_counted(lacking[prefix])}, or in other shapes")
    whole = [each for each in prefixes if not lacking[each]]
    others = [each for each in whole if each != prefix]
    if not all(torch.equal(tensors[each + name], tensors[prefix + name]) for each in others for name in needed):
        named = ", ".join(map(repr, whole))
        raise InputError(f"{path}: holds {len(whole)} networks like {wanted} ({named}); save one's state dict alone")
    filled = {name: tensors[prefix + name] for name in state if prefix + name in tensors}
    unused = [name for name in tensors if name.removeprefix(prefix) not in filled or not name.startswith(prefix)]
    parts = tuple(f"{prefix}{name.partition('.')[0]}." for name in state)
    if more := [name for name in unused if name.startswith(parts) and not name.endswith(COUNTER)]:
        raise InputError(f"{path}: no weights of {wanted}, which has no {_counted(more)}")
    for name, tensor in filled.items():
        if not tensor.is_floating_point() and not name.endswith(COUNTER):
            raise InputError(f"{path}: {name} holds {tensor.dtype}, not floating-point numbers; save it unquantised")
        if not tensor.isfinite().all():
            raise InputError(f"{path}: {name} holds numbers that are not finite; the training that made it broke down")
    module.load_state_dict({**state, **filled})
    unused = [name for name in unused if not name.removeprefix(prefix).startswith(drop)]
    notes = [f"the prefix {prefix!r} of its names was taken off"] if prefix else []
    return notes + ([f"left out {_counted(unused)}"] if unused else [])


def read_tensors(path: Path) -> Tensors:
    """Every tensor of a file of torch or safetensors, by its dotted name through the containers around it.

    Raises:
        InputError: neither, damaged, something that would run code, or no tensor in it.
    """
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return load_tensors(path)  # safetensors begins with a length of eight bytes, then JSON
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises whatever its unpickler meets
        advice = "save it again with torch.save(model.state_dict(), ...)"
        raise InputError(f"{path}: not a whole file of plain tensors, so it was not loaded; {advice}") from None
    tensors = dict(_flat(content, "", depth=8)) if isinstance(content, Mapping) else {}
    if not tensors:
        raise InputError(f"{path}: not a state dict of tensors; save model.state_dict()")
    return tensors


def _flat(content: Mapping[Any, Any], before: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{before}{key}", value
        elif isinstance(value, Mapping) and depth:
            yield from _flat(value, f"{before}{key}.", depth - 1)


def _counted(names: Collection[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{len(names):,} tensor{'s' * (len(names) > 1)}: {', '.join(list(names)[:NAMED])}{more}"
