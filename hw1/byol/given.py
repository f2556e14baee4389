"""Weights that people bring: state dicts as other programs saved them, read without running code.

Containers such as ``{"state_dict": ...}`` and prefixes such as DataParallel's ``module.`` are read as one dotted prefix
of the network's own names, and taken off. What lies beside the network is left out and named.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hw1.engine.weights import Tensors, load_tensors
from hw1.run.errors import InputError

COUNTER = "num_batches_tracked"  # of BatchNorm; older files have none, and no result depends on it
FEW = 4  # names that a line gives before it counts


def load_given(module: nn.Module, path: Path, wanted: str, drop: tuple[str, ...]) -> list[str]:
    """Fill ``module``, the network called ``wanted``, from a given file; notes on what was taken off and left out.

    Names that start with one of ``drop`` are the classifier that is not wanted. InputError for no file of plain
    tensors, weights of another network or of several, and numbers that are none.
    """
    tensors, own = read_tensors(path), module.state_dict()
    prefix = _prefix(tensors, own, path, wanted)
    taken = {name: tensors[prefix + name] for name in own if prefix + name in tensors}
    for name, tensor in taken.items():
        if not tensor.is_floating_point() and not name.endswith(COUNTER):
            raise InputError(f"{path}: {name} holds {tensor.dtype}, not floating-point numbers; save it unquantised")
        if not tensor.isfinite().all():
            raise InputError(f"{path}: {name} holds numbers that are not finite; the training that made it broke down")
    module.load_state_dict({**own, **taken})
    beside = [name for name in tensors if not name.startswith(tuple(prefix + known for known in (*taken, *drop)))]
    notes = [f"the prefix {prefix!r} of its names was taken off"] if prefix else []
    return notes + ([f"left out {_counted(beside)}"] if beside else [])


def read_tensors(path: Path) -> Tensors:
    """Every tensor of a file of torch or safetensors, by its dotted name; InputError for another or a damaged file."""
    with suppress(InputError):
        return load_tensors(path)  # where it is of safetensors
    with suppress(Exception):  # torch raises whatever its unpickler meets
        if tensors := dict(_flat(torch.load(path, map_location="cpu", weights_only=True))):
            return tensors
    raise InputError(f"{path}: no whole state dict of plain tensors; save it by torch.save(model.state_dict(), ...)")


def describe(path: Path) -> list[str]:
    """A line on what a file of weights holds; InputError as :func:`read_tensors`."""
    tensors = read_tensors(path)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    kinds = ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}))
    return [f"{numbers:,} numbers ({kinds}) in {_counted(list(tensors))}"]


def _flat(content: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{before}{key}", value
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")


def _prefix(tensors: Tensors, own: Tensors, path: Path, wanted: str) -> str:
    """The text before the names of the one network in the file that has the tensors ``own``; InputError for none."""
    rarest = max(own, key=lambda name: (not name.endswith(COUNTER), len(name)))
    prefixes = [name.removesuffix(rarest) for name in tensors if f".{name}".endswith(f".{rarest}")]
    unlike = {prefix: _unlike(tensors, own, prefix) for prefix in prefixes}
    whole = [prefix for prefix in prefixes if not unlike[prefix]]
    if len(whole) > 1:
        raise InputError(f"{path}: holds several networks like {wanted} ({whole}); save one's state dict alone")
    if not whole:
        names = min(unlike.values(), key=len, default=list(own))
        raise InputError(f"{path}: weights of another network than {wanted}; what does not fit: {_counted(names)}")
    return whole[0]


def _unlike(tensors: Tensors, own: Tensors, prefix: str) -> list[str]:
    """Names under a prefix that the network's parts have not, or lack, or have in another shape."""
    parts = tuple(f"{prefix}{name.partition('.')[0]}." for name in own)
    inner = {name.removeprefix(prefix): tensor.shape for name, tensor in tensors.items() if name.startswith(parts)}
    needed = {name: tensor.shape for name, tensor in own.items()}
    return [n for n in {**needed, **inner} if needed.get(n) != inner.get(n) and not n.endswith(COUNTER)]


def _counted(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW:,} more" if len(names) > FEW else ""
    return f"{len(names):,} tensor{'s' * (len(names) > 1)}: {', '.join(names[:FEW])}{more}"
