"""Score predicted masks against true ones: ``python -m hw1.predict.score TRUTH PREDICTED``.

Both are folders of ``{id}_mask.png`` in the seven colours. Counts are summed over all pixels of all tiles,
Unknown's included, and divided once, as the course's scorer does.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from hw1.archive.parallel import in_threads
from hw1.archive.pictures import PictureError, decode_mask
from hw1.data.classes import LAND_COVER
from hw1.engine.metrics import count_confusion, iou, mean_iou
from hw1.predict.reading import files_in, read_bytes, shown
from hw1.run.errors import InputError
from hw1.run.supervision import run_stage


def score_masks(truth: Path, predicted: Path) -> tuple[int, Tensor]:
    """Number of tiles, and their confusion counts (7, 7).

    Raises:
        InputError: a true mask without a predicted one, one of another size, or one that is no mask.
    """
    names = [path.name for path in files_in(truth, ("_mask.png",))]

    def counts_of(name: str) -> Tensor:
        wanted, found = (torch.from_numpy(_mask(folder / name)) for folder in (truth, predicted))
        if wanted.shape != found.shape:
            sizes = [f"{mask.shape[1]} x {mask.shape[0]}" for mask in (found, wanted)]
            raise InputError(f"{shown(predicted / name)}: {sizes[0]} pixels, the true mask has {sizes[1]}")
        return count_confusion(wanted, found, len(LAND_COVER))

    counts = torch.zeros(len(LAND_COVER), len(LAND_COVER), dtype=torch.int64)
    for confusion in in_threads(counts_of, names, chunk=1):
        counts += confusion
    return len(names), counts


def iou_table(tiles: int, confusion: Tensor) -> str:
    """A line for each class and one for the mean, as fractions; absent classes have no IoU and are not in the mean."""
    lines = [
        f"{name:<12} {'absent' if value is None else f'{value:.5f}'}"
        for name, value in zip(LAND_COVER, iou(confusion), strict=False)
    ]
    return "\n".join([*lines, f"{'mean IoU':<12} {mean_iou(confusion):.5f}  ({tiles} tiles)"])


def _mask(path: Path) -> Tensor:
    try:
        return decode_mask(read_bytes(path))
    except PictureError as error:
        raise InputError(f"{shown(path)}: {error}") from None


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
