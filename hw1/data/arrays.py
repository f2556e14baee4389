"""Prepared data on disk: one folder a part, one ``.npy`` an array, read as memory maps.

``{split}_images.npy`` (N, H, W, 3) uint8; ``{split}_labels.npy`` (N,) int64, where there are labels;
P3 has ``train_masks.npy`` (N, H, W) uint8 and, at the masks' own sizes, ``validation_masks.npy``
(total pixels,) uint8 with ``validation_mask_shapes.npy`` (N, 2) int64. ``manifest.json`` holds the
archive's origin, the number of classes and the names of the images in the order of the arrays.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw1.run.errors import InputError

GIVEN_WEIGHTS = "pretrain_model_SL.pt"  # the course's supervised ResNet50, a state dict, kept beside mini's arrays


@dataclass(frozen=True)
class Manifest:
    """Facts of a part: the archive's origin, number of classes (0: no labels), names of the images of each split.

    Each image was resized to a square of ``resize`` px by ``filter``, of which the centre of ``crop`` px is stored.
    """

    origin: str
    resize: int
    crop: int
    filter: str
    classes: int
    train: Sequence[str]
    validation: Sequence[str]

    def save(self, folder: Path) -> None:
        (folder / "manifest.json").write_text(json.dumps(vars(self), indent=1) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> "Manifest":
        path = Path(folder, "manifest.json")
        if not path.is_file():
            raise InputError(f"{path}: missing; run `dvc repro` to prepare the data")
        return cls(**json.loads(path.read_text()))


def load_array(folder: str | Path, name: str) -> np.ndarray:
    """Memory map of ``{name}.npy``; copy-on-write, so that torch can share it and the file stays as it is."""
    return np.load(Path(folder, f"{name}.npy"), mmap_mode="c")


def save_masks(folder: Path, name: str, masks: Sequence[np.ndarray]) -> None:
    """Store masks (H_i, W_i) uint8 of any sizes end to end."""
    shapes = np.array([mask.shape for mask in masks], np.int64)
    np.save(folder / f"{name}_masks.npy", np.concatenate([mask.ravel() for mask in masks]))
    np.save(folder / f"{name}_mask_shapes.npy", shapes)


def load_masks(folder: str | Path, name: str) -> list[np.ndarray]:
    """The masks :func:`save_masks` stored, as views (H_i, W_i) uint8 of one memory map."""
    pixels, shapes = load_array(folder, f"{name}_masks"), load_array(folder, f"{name}_mask_shapes")
    ends = np.cumsum(shapes.prod(axis=1))
    return [pixels[end - h * w : end].reshape(h, w) for end, (h, w) in zip(ends, shapes, strict=True)]
