"""Score predicted masks against true ones: ``python -m hw1.predict.score TRUTH PREDICTED``.

Both are folders of masks ``{id}_mask.png`` in the seven colours. Counts are summed over all pixels of all tiles,
Unknown's included, and divided once, as the course's scorer does.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from hw1.archive.pictures import PictureError, decode_mask, in_threads
from hw1.archive.spelling import few, shown
from hw1.data.classes import LAND_COVER
from hw1.engine.metrics import count_confusion, iou, mean_iou
from hw1.predict.masks import MASK, flaw_of, paired
from hw1.predict.reading import read_bytes
from hw1.run.errors import InputError
from hw1.run.processes.supervision import run_stage


def score_masks(truth: Path, predicted: Path) -> tuple[int, Tensor]:
    """Number of tiles, and their confusion counts (7, 7).

    Raises:
        InputError: a true mask without a predicted one, one of another size, one that is no mask, or true masks that
            are all of one class.
    """
    true, predictions = (paired(folder, "mask")[0]["mask"] for folder in (truth, predicted))
    for tile in sorted(true.keys() - predictions.keys()):
        name = shown(str(truth / true[tile]))
        raise InputError(f"{predicted / MASK.format(tile)}: no such file, but {name} is there")
    if more := sorted(predictions.keys() - true.keys()):
        print(f"left out {len(more):,} predicted masks without a true one: {few(more)}", file=sys.stderr)

    def counts_of(tile: str) -> Tensor:
        masks = _mask(truth / true[tile]), _mask(predicted / predictions[tile])
        if masks[0].shape != masks[1].shape:
            wanted, got = (f"{mask.shape[1]} x {mask.shape[0]}" for mask in masks)
            name = shown(str(predicted / predictions[tile]))
            raise InputError(f"{name}: {got} pixels, the true mask has {wanted}")
        return count_confusion(*masks, len(LAND_COVER))

    counts = torch.zeros(len(LAND_COVER), len(LAND_COVER), dtype=torch.int64)
    for confusion in in_threads(counts_of, sorted(true), chunk=1):
        counts += confusion
    if flaw := flaw_of(counts):
        raise InputError(f"{truth}: {flaw}: nothing to score by; are these the right masks?")
    if flaw := flaw_of(counts.T):
        print(f"warning: {predicted}: {flaw}", file=sys.stderr)
    return len(true), counts


def iou_table(tiles: int, confusion: Tensor) -> str:
    """A line for each class and one for the mean, as fractions; absent classes have no IoU and are not in the mean."""
    lines = [
        f"{name:<12} {'absent' if value is None else f'{value:.5f}'}"
        for name, value in zip(LAND_COVER, iou(confusion), strict=False)
    ]
    return "\n".join([*lines, f"{'mean IoU':<12} {mean_iou(confusion):.5f}  ({tiles} tiles)"])


def _mask(path: Path) -> Tensor:
    try:
        return torch.from_numpy(decode_mask(read_bytes(path)))
    except PictureError as error:
        raise InputError(f"{shown(str(path))}: {error}") from None


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hw1.predict.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("truth", type=Path, help="the folder of true masks")
    parser.add_argument("predicted", type=Path, help="the folder of predicted masks")
    args = parser.parse_args()
    print(iou_table(*score_masks(args.truth, args.predicted)))


if __name__ == "__main__":
    run_stage(main)
