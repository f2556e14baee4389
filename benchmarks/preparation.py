"""prepare: members of an archive decoded and resized into arrays."""

import dataclasses
import io
import posixpath
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.tables import Table, ratio
from benchmarks.timing import Contestant, race
from hw1.archive.archive import Archive
from hw1.archive.parts import prepare
from hw1.run.parameters.params import ResizeCrop, load

COUNT = 2000
SIDE = 84  # px of Mini-ImageNet's images in the course's archive


def archive() -> Path:
    """A zip of COUNT JPEGs, smooth noise at the course's size, without labels."""
    draw = np.random.default_rng(0)
    path = Path(tempfile.mkdtemp(prefix="hw1-bench-"), "hw1_data.zip")
    with zipfile.ZipFile(path, "w") as target:
        for number in range(COUNT):
            coarse = Image.fromarray(draw.integers(0, 256, (12, 12, 3), np.uint8))
            data = io.BytesIO()
            coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
            target.writestr(f"hw1_data/p2_data/mini/train/{number:05}.jpg", data.getvalue())
    return path


def ours(size: int) -> Contestant:
    source = Archive(archive())
    params = dataclasses.replace(load("presets/paper.yaml").prepare, mini=ResizeCrop(size, size, "bicubic"))
    out = Path(tempfile.mkdtemp(prefix="hw1-bench-"))

    def run() -> float:
        prepare("mini", source, params, out)
        return COUNT

    return run


def plain(size: int) -> Contestant:
    """One image after the other, stacked in memory, saved."""
    path, out = archive(), Path(tempfile.mkdtemp(prefix="hw1-bench-"))

    def run() -> float:
        with zipfile.ZipFile(path) as source:
            names = sorted(source.namelist(), key=posixpath.basename)
            opened = (Image.open(io.BytesIO(source.read(name))).convert("RGB") for name in names)
            np.save(out / "images.npy", np.stack([np.asarray(i.resize((size, size), 3)) for i in opened]))
        return COUNT

    return run


def preparation(rounds: int) -> list[Table]:
    table = Table(
        "prepare: JPEG members of a zip to one array",
        ("", "ours, images/s", "ours, MB/s written", "one by one, images/s", "ours / one by one"),
        note=f"{COUNT} JPEGs of {SIDE} px.",
    )
    for size in (32, 128, 224):
        speeds = race({"ours": partial(ours, size), "plain": partial(plain, size)}, rounds)
        mine, theirs = speeds["ours"], speeds["plain"]
        written = mine.median * size * size * 3 / 1e6
        table.add(
            f"to {size} px", f"{mine.median:,.0f}", f"{written:,.0f}", f"{theirs.median:,.0f}", ratio(mine, theirs)
        )
    return [table]
