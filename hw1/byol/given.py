"""Weights that people bring: state dicts as other programs saved them, read without running code.

Whatever wraps one is taken off: containers such as ``{"state_dict": ...}`` and prefixes such as DataParallel's
``module.`` are read as one dotted name before the network's own, and where all of its tensors have the same one, those
are they. What lies beside them is left out and named.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from hw1.classify.classifiers import CONVNEXTS, RESNETS
from hw1.engine.weights import Tensors, load_tensors
from hw1.run.errors import InputError

DEEP = 8  # containers in one another, at most
COUNTER = "num_batches_tracked"  # of BatchNorm; older files have none, and no result depends on it
CLASSIFIERS = ("fc.", "classifier.", "head.", "heads.")
FEW = 4  # names that a line gives before it counts

# What a file may look like: the backbones, and torchvision's other networks, by the functions that build them.
KNOWN = {
    **{name.replace("resnet", "ResNet"): build for name, build in RESNETS.items()},
    "ResNet101": models.resnet101,
    "ResNet152": models.resnet152,
    "Wide ResNet50-2": models.wide_resnet50_2,
    "ResNeXt50": models.resnext50_32x4d,
    **{f"ConvNeXt-{name.removeprefix('convnext_').title()}": build for name, build in CONVNEXTS.items()},
    "VGG16": models.vgg16,
    "VGG16 with BatchNorm": models.vgg16_bn,
    "DenseNet121": models.densenet121,
    "MobileNetV2": models.mobilenet_v2,
    "EfficientNet-B0": models.efficientnet_b0,
    "ViT-B/16": models.vit_b_16,
    "AlexNet": models.alexnet,
}


@dataclass(frozen=True)
class Given:
    """Tensors for a network, by its own names; the ``prefix`` taken off; and which names were left out."""

    tensors: Tensors
    prefix: str
    left_out: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What must be told of how the file was read."""
        told = [f"the prefix {self.prefix!r} of its names was taken off"] if self.prefix else []
        return told + ([f"left out {_counted(self.left_out)}"] if self.left_out else [])


def load_given(module: nn.Module, path: Path, wanted: str, drop: tuple[str, ...]) -> list[str]:
    """Fill ``module``, the network called ``wanted``, from a given file; what must be told of how it was read.

    Names that start with one of ``drop`` are the classifier that is not wanted.

    Raises:
        InputError: no file of plain tensors; weights of another network, or of several; or numbers that are none.
    """
    given = take(read_tensors(path), module.state_dict(), path, wanted, drop)
    module.load_state_dict({**module.state_dict(), **given.tensors})
    return given.notes


def read_tensors(path: Path) -> Tensors:
    """Every tensor of a file of torch or safetensors, by its dotted name through the containers around it.

    Raises:
        InputError: neither, damaged, something that would run code, or no tensor in it.
    """
    if _is_safetensors(path):
        return load_tensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises whatever its unpickler meets
        raise InputError(
            f"{path}: not a whole file of plain tensors, so it was not loaded (it could run code); "
            "save it again with torch.save(model.state_dict(), ...)"
        ) from None
    found = dict(_flat(content, "", DEEP)) if isinstance(content, Mapping) else {}
    if not found:
        raise InputError(f"{path}: not a state dict of tensors; save model.state_dict()")
    return found


def _is_safetensors(path: Path) -> bool:
    """A length of eight bytes, then JSON."""
    with open(path, "rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _flat(content: Mapping[Any, Any], before: str, deep: int) -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{before}{key}", value
        elif isinstance(value, Mapping) and deep:
            yield from _flat(value, f"{before}{key}.", deep - 1)


def take(tensors: Tensors, own: Tensors, path: Path, wanted: str, drop: tuple[str, ...]) -> Given:
    """The tensors of a file for the network ``wanted`` whose own are ``own``; InputError where they are not there."""
    needed = {name: tensor for name, tensor in own.items() if not name.endswith(COUNTER)}
    whole = [prefix for prefix in _prefixes(tensors, needed) if not _lacking(tensors, needed, prefix)]
    whole = _but_copies(whole, tensors, needed)
    if len(whole) > 1:
        prefixes = ", ".join(map(repr, whole))
        raise InputError(f"{path}: holds {len(whole)} networks like {wanted} ({prefixes}); save one's state dict alone")
    if not whole:
        raise InputError(f"{path}: {_likeness(tensors, needed, wanted)}")
    prefix = whole[0]
    parts = {name.partition(".")[0] for name in own}
    under = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    more = [name for name in under if name not in own and name.partition(".")[0] in parts]
    if more and not all(name.endswith(COUNTER) for name in more):
        raise InputError(f"{path}: {_likeness(tensors, needed, wanted)}; more than it needs are {_counted(more)}")
    taken = {name: under[name] for name in own if name in under}
    _require_numbers(taken, path)
    left = [name for name in tensors if name.removeprefix(prefix) not in taken or not name.startswith(prefix)]
    return Given(taken, prefix, tuple(name for name in left if not name.removeprefix(prefix).startswith(drop)))


def _prefixes(tensors: Tensors, needed: Tensors) -> list[str]:
    """What may stand before every name: all that stands before one of them somewhere."""
    probe = max(needed, key=len)  # the longest is the rarest
    return list(dict.fromkeys(name[: -len(probe)] for name in tensors if f".{name}".endswith(f".{probe}")))


def _lacking(tensors: Tensors, needed: Tensors, prefix: str) -> list[str]:
    """Names that are not there, or of another shape."""
    there = {name: tensors.get(prefix + name) for name in needed}
    return [name for name, tensor in there.items() if tensor is None or tensor.shape != needed[name].shape]


def _but_copies(prefixes: list[str], tensors: Tensors, needed: Tensors) -> list[str]:
    """Without those whose tensors are all equal to the first one's."""
    return prefixes[:1] + [
        prefix
        for prefix in prefixes[1:]
        if not all(torch.equal(tensors[prefix + name], tensors[prefixes[0] + name]) for name in needed)
    ]


def _require_numbers(tensors: Tensors, path: Path) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() and not name.endswith(COUNTER):
            raise InputError(f"{path}: {name} holds {tensor.dtype}, not floating-point numbers; save it unquantised")
        if not tensor.isfinite().all():
            raise InputError(f"{path}: {name} holds numbers that are not finite; the training that made it broke down")


# -- which network a file is of


def describe(path: Path) -> list[str]:
    """What a file of weights holds: which known network's they look like, and what else.

    Raises:
        InputError: as :func:`read_tensors`.
    """
    tensors = read_tensors(path)
    name, others = _closest(tensors)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    kinds = ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}))
    lines = [f"{len(tensors):,} tensors, {numbers:,} numbers ({kinds}), such as {_first(tensors)}"]
    if not name:
        return [*lines, "of no network known here; its backbone must be torchvision's ResNet of params.yaml"]
    return [*lines, f"looks like weights of {name}" + (f", but for {others}" if others else "")]


def _likeness(tensors: Tensors, needed: Tensors, wanted: str) -> str:
    """What a file that does not fit looks like, beside what is wanted."""
    name, others = _closest(tensors)
    if not name:
        lacking = min((_lacking(tensors, needed, prefix) for prefix in _prefixes(tensors, needed) or [""]), key=len)
        example = lacking[0] if lacking else next(iter(needed))
        there = f"; {len(lacking):,} of its {len(needed):,} tensors are missing, such as {example}"
        return (
            f"weights of another network than {wanted}, which is wanted{there}; the file begins with {_first(tensors)}"
        )
    if name == wanted and others:
        return f"weights of {name} but for {others}"
    but = f", but for {others}" if others else ""
    return f"looks like weights of {name}{but}; wanted are those of {wanted}"


def _closest(tensors: Tensors) -> tuple[str, str]:
    """The known network whose names these are, and which shapes are others; ("", "") for none."""
    best, fewest = ("", ""), math.inf
    with torch.device("meta"):
        for name, build in KNOWN.items():
            needed = {
                key: tensor
                for key, tensor in build().state_dict().items()
                if not key.endswith(COUNTER) and not key.startswith(CLASSIFIERS)
            }
            for prefix in _prefixes(tensors, needed):
                if not _same_names(tensors, needed, prefix):
                    continue
                others = _lacking(tensors, needed, prefix)
                if len(others) < min(fewest, len(needed) / 2):
                    best, fewest = (name, _shapes(tensors, needed, prefix, others)), len(others)
    return best


def _same_names(tensors: Tensors, needed: Tensors, prefix: str) -> bool:
    parts = {name.partition(".")[0] for name in needed}
    there = {name.removeprefix(prefix) for name in tensors if name.startswith(prefix) and not name.endswith(COUNTER)}
    return {name for name in there if name.partition(".")[0] in parts and not name.startswith(CLASSIFIERS)} == {*needed}


def _shapes(tensors: Tensors, needed: Tensors, prefix: str, names: list[str]) -> str:
    if not names:
        return ""
    given, own = (" x ".join(map(str, of.shape)) for of in (tensors[prefix + names[0]], needed[names[0]]))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]} ({given} in place of {own}){more}"


def _first(tensors: Tensors) -> str:
    return ", ".join(list(tensors)[:FEW])


def _counted(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - FEW:,} more" if len(names) > FEW else ""
    return f"{len(names):,} tensor{'s' * (len(names) > 1)}: {', '.join(names[:FEW])}{more}"
