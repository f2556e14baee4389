"""The drawn archive: the course's layout, and what a seed and a size decide."""

import csv
import io
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from hw1.data.classes import MASK_COLOURS
from hw1.run.parameters.params import LabelledImages, Synthetic, Tiles, UnlabelledImages
from hw1.sources.synthetic import REPORT_TILES, validation_numbers, write_archive

TINY = Synthetic(
    seed=7,
    p1=LabelledImages(classes=3, train=8, validation=4, size=16),
    mini=UnlabelledImages(classes=4, train=10, size=20),
    office=LabelledImages(classes=3, train=7, validation=5, size=24),
    p3=Tiles(train=4, validation=5, size=32),
)


def drawn(params: Synthetic) -> bytes:
    file = io.BytesIO()
    write_archive(params, file)
    return file.getvalue()


def members_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def tiny() -> bytes:
    return drawn(TINY)


@pytest.fixture(scope="module")
def members(tiny: bytes) -> dict[str, bytes]:
    return members_of(tiny)


def below(members: dict[str, bytes], folder: str) -> dict[str, bytes]:
    """The files directly in a folder, by name."""
    paths = {PurePosixPath(name): content for name, content in members.items()}
    return {path.name: content for path, content in paths.items() if str(path.parent) == f"hw1_data/{folder}"}


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_same_params_give_the_same_bytes_and_another_seed_other_pictures_no_two_of_them_the_same(tiny, members):
    assert drawn(TINY) == tiny
    pictures = [content for name, content in members.items() if not name.endswith(("_mask.png", ".csv"))]
    assert len(set(pictures)) == len(pictures)
    assert not set(pictures) & set(members_of(drawn(replace(TINY, seed=8))).values())


@pytest.mark.parametrize(
    "folder, count, size, form",
    [
        *(("p1_data/train_50", 8, 16, "PNG"), ("p1_data/val_50", 4, 16, "PNG"), ("p2_data/mini/train", 10, 20, "JPEG")),
        *(("p2_data/office/train", 7, 24, "JPEG"), ("p2_data/office/val", 5, 24, "JPEG")),
    ],
)
def test_folder_holds_the_asked_number_of_rgb_pictures_of_the_asked_size(members, folder, count, size, form):
    files = below(members, folder)
    assert len(files) == count
    for content in files.values():
        assert pixels(content).shape == (size, size, 3)
        assert Image.open(io.BytesIO(content)).format == form


def test_tile_folders_hold_a_picture_and_a_mask_of_the_seven_colours_per_number(members):
    for split, numbers in (("train", range(4)), ("validation", (0, 1, 13, 62, 104))):
        files = below(members, f"p3_data/{split}")
        assert files.keys() == {f"{number:04d}_{kind}" for number in numbers for kind in ("sat.jpg", "mask.png")}
        assert {pixels(content).shape for content in files.values()} == {(32, 32, 3)}
        for colours in (pixels(content) for name, content in files.items() if name.endswith("_mask.png")):
            assert set(map(tuple, colours.reshape(-1, 3))) <= set(map(tuple, MASK_COLOURS))


def test_members_are_stored_readable_with_one_date(tiny):
    with zipfile.ZipFile(io.BytesIO(tiny)) as archive:
        infos = archive.infolist()
    kinds = {(info.compress_type, info.date_time, info.external_attr >> 16) for info in infos}
    assert kinds == {(zipfile.ZIP_STORED, infos[0].date_time, 0o644)}


@pytest.mark.parametrize("folder", ["mini/train", "office/train", "office/val"])
def test_table_names_every_file_of_its_folder_once_in_the_order_of_ids(members, folder):
    listed = rows(members[f"hw1_data/p2_data/{folder}.csv"])
    assert [row["id"] for row in listed] == [str(number) for number in range(len(listed))]
    assert sorted(row["filename"] for row in listed) == sorted(below(members, f"p2_data/{folder}"))
    if folder != "mini/train":
        assert all(row["filename"].split("_")[0] == row["label"] for row in listed)


@pytest.mark.parametrize("folder, end", [("p1_data", "_50"), ("p2_data/office", "")])
def test_labels_in_names_are_balanced_within_one_and_no_name_is_in_both_splits(members, folder, end):
    train, validation = (below(members, f"{folder}/{split}{end}").keys() for split in ("train", "val"))
    assert not train & validation
    for names in (train, validation):
        counts = Counter(name.split("_")[0] for name in names)
        assert counts.keys() == {"0", "1", "2"}
        assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize(
    "part, change",
    [
        ("p1_data", {"p1": LabelledImages(classes=2, train=5, validation=3, size=8)}),
        ("p2_data/mini", {"mini": UnlabelledImages(classes=2, train=3, size=8)}),
        ("p2_data/office", {"office": LabelledImages(classes=2, train=3, validation=3, size=8)}),
        ("p3_data", {"p3": Tiles(train=1, validation=3, size=16)}),
    ],
)
def test_another_size_of_one_part_leaves_the_others_as_they_are(members, part, change):
    def others(of):
        return {name: content for name, content in of.items() if not name.startswith(f"hw1_data/{part}/")}

    changed = members_of(drawn(replace(TINY, **change)))
    assert changed != members
    assert others(changed) == others(members)


def test_more_tiles_leave_the_first_ones_as_they_are(members):
    more = members_of(drawn(replace(TINY, p3=replace(TINY.p3, train=6))))
    assert len(more) == len(members) + 4 and members.items() <= more.items()


@pytest.mark.parametrize("count", [3, 5, 14, 200])
def test_validation_numbers_are_distinct_and_hold_those_of_the_report(count):
    numbers = validation_numbers(count)
    assert len(set(numbers)) == count
    assert set(REPORT_TILES) <= set(numbers)
    assert numbers == sorted(numbers)
