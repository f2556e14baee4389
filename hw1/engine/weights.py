"""The project's own weights on disk, in safetensors."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hw1.run.errors import InputError
from hw1.run.files import whole_file

Tensors = Mapping[str, Tensor]
NOTHING: Tensors = MappingProxyType({})  # of a network that starts from random weights
FINAL = "weights.safetensors"  # the weights after the last epoch, in a training's folder
BEST = "best.safetensors"  # those after the epoch that did best on the validation images
KEPT = {"last": FINAL, "best": BEST}  # by ``evaluate.keep``


def save_weights(module: nn.Module, path: Path, metadata: Mapping[str, Any]) -> None:
    """Write every parameter and buffer of ``module``; ``metadata`` (plain JSON) says what they are."""
    save_tensors(module.state_dict(), path, metadata)


def save_tensors(tensors: Tensors, path: Path, metadata: Mapping[str, Any]) -> None:
    """Write named tensors; ``metadata`` (plain JSON) says what they are."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as draft:
        # safetensors writes its metadata in a random order: one entry keeps equal weights equal bytes.
        save_file(tensors, draft, {"hw1": json.dumps(metadata)})


def picture_epochs(epochs: int) -> list[int]:
    """The epochs whose weights are kept for pictures: first, middle, last (1, 40, 80 of 80), without repeats."""
    return sorted({1, max(1, epochs // 2), epochs})


def snapshot_file(folder: Path, epoch: int, epochs: int) -> Path:
    """The place of the weights after ``epoch`` of ``epochs`` in a training's folder."""
    return folder / (FINAL if epoch == epochs else f"epoch_{epoch}.safetensors")


def load_weights(module: nn.Module, path: Path, assign: bool = False) -> None:
    """Fill ``module`` from a file of :func:`save_weights`, exactly.

    ``assign`` puts the file's tensors in the place of the module's, which may then be on the meta device.

    Raises:
        InputError: no such file, not safetensors, or not this network's tensors.
    """
    _fill(module, load_tensors(path), path, assign)


def load_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file by their names; InputError for no such file, or another."""
    with _opened(path) as file:
        # Cloned: where the file has them they may lie unaligned, and other kernels round otherwise.
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)


def load_start(path: Path, weights: str) -> Tensors:
    """The start of a network: the tensors of ``path``, without any for ``weights`` none.

    Raises:
        InputError: the file was left for other parameters.
    """
    tensors = load_tensors(path)
    if bool(tensors) != (weights != "none"):
        raise InputError(f"{path}: not what weights: {weights} asks for; run `dvc repro start`")
    return tensors


def part_of(tensors: Tensors, name: str) -> Tensors:
    """The tensors of the part ``name`` of a network, named as that part calls them."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a file of :func:`save_weights`; empty for one that says nothing."""
    with _opened(path) as file:
        text = (file.metadata() or {}).get("hw1", "{}")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: its metadata is damaged")
    return metadata


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such weights; run `dvc repro`") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error})") from None


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path, assign: bool = False) -> None:
    wanted = module.state_dict()
    missing, unexpected = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    reshaped = [
        name
        for name in wanted.keys() & tensors.keys()
        if wanted[name].shape != tensors[name].shape or (assign and wanted[name].dtype != tensors[name].dtype)
    ]
    if missing or unexpected or reshaped:
        counts = f"{len(missing)} keys missing, {len(unexpected)} unexpected, {len(reshaped)} of another shape or type"
        example = (missing + unexpected + sorted(reshaped))[0]
        raise InputError(f"{path}: weights of another network ({counts}, such as {example})")
    module.load_state_dict(tensors, assign=assign)
