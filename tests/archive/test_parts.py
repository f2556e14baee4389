"""Each part prepared from a small archive in the course's layout: the arrays, and every bad input."""

import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_course import SIZES, course_members, encode, mask, noise, pack, table
from torchvision import transforms

from hw1.archive.archive import GIVEN, Archive
from hw1.archive.parts import prepare
from hw1.data.arrays import Manifest, load_array, load_masks
from hw1.run.errors import InputError
from hw1.run.parameters.params import Prepare, ResizeCrop
from stages import prepare as stage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def course():
    """Members of a whole, small archive in the course's layout; a test may change them."""
    return course_members()


@pytest.fixture
def prepared(tmp_path):
    """A function that prepares a part of an archive of the given members, in the sizes above."""

    def prepared(part, members, sizes=SIZES):
        out = tmp_path / part
        out.mkdir()
        prepare(part, Archive(pack(members, tmp_path / "course.zip")), sizes, out)
        return out

    return prepared


def picture(content):
    return Image.open(io.BytesIO(content)).convert("RGB")


P1_NAMES = ["0_2.png", "1_10.png", "1_9.png"], ["0_0.png", "1_0.png"]
MINI_NAMES = ["a.jpg", "b.jpg", "c.jpg"], []
OFFICE_NAMES = ["t0.jpg", "t1.jpg", "t2.jpg"], ["v0.jpg", "v1.jpg"]


@pytest.mark.parametrize(
    "part, more, manifest, labels",
    [
        ("p1", {}, (8, 8, "bicubic", 2, *P1_NAMES), {"train": [0, 1, 1], "validation": [0, 1]}),
        ("mini", {}, (10, 10, "bilinear", 0, *MINI_NAMES), {}),
        (
            "mini",
            {"p2_data/mini/train.csv": table({"c.jpg": 0, "a.jpg": 1, "b.jpg": 0})},
            (10, 10, "bilinear", 2, *MINI_NAMES),
            {"train": [1, 0, 0]},
        ),
        ("office", {}, (18, 12, "bicubic", 3, *OFFICE_NAMES), {"train": [1, 2, 0], "validation": [0, 2]}),
    ],
)
def test_part_is_stored_in_sorted_order_with_the_labels_there_are(part, more, manifest, labels, prepared, course):
    out = prepared(part, course | more)
    assert Manifest.load(out) == Manifest(GIVEN, *manifest)
    assert {path.name for path in out.glob("*_labels.npy")} == {f"{split}_labels.npy" for split in labels}
    for split, expected in labels.items():
        assert load_array(out, f"{split}_labels").tolist() == expected
        assert load_array(out, f"{split}_labels").dtype == np.int64


def as_torchvision(resize, crop, mode):
    return transforms.Compose([transforms.Resize((resize, resize), mode), transforms.CenterCrop(crop)])


BILINEAR, BICUBIC = transforms.InterpolationMode.BILINEAR, transforms.InterpolationMode.BICUBIC


@pytest.mark.parametrize(
    "part, members, resize, crop, reference",
    [
        ("p1", "p1_data/train_50/{}.png", 18, 12, lambda image: image),  # of the stored size: kept bit for bit
        ("mini", "p2_data/mini/train/{}.jpg", 18, 12, as_torchvision(10, 10, BILINEAR)),
        ("office", "p2_data/office/train/{}.jpg", 18, 12, as_torchvision(18, 12, BICUBIC)),
        ("office", "p2_data/office/train/{}.jpg", 232, 224, as_torchvision(232, 224, BICUBIC)),
    ],
)
def test_pictures_are_resized_and_cropped_as_torchvision_does(part, members, resize, crop, reference, prepared, course):
    out = prepared(part, course, Prepare(SIZES.p1, SIZES.mini, ResizeCrop(resize, crop, "bicubic"), SIZES.p3))
    images, names = load_array(out, "train_images"), Manifest.load(out).train
    expected = [np.asarray(reference(picture(course[members.format(name[:-4])]))) for name in names]
    assert images.dtype == np.uint8 and np.array_equal(images, expected)


def test_given_weights_are_kept_beside_minis_arrays(prepared, course):
    course["pretrain_model_SL.pt"] = b"the course's weights"
    assert (prepared("mini", course) / "pretrain_model_SL.pt").read_bytes() == b"the course's weights"


def test_p3_tiles_and_training_masks_are_square_and_these_hold_classes_only(prepared, course):
    pixels = noise(0, 32, 32) // 128 * np.array([255, 0, 255], np.uint8)  # black, blue, red, magenta
    pixels[..., 2] |= pixels[..., 0]  # no red
    course["p3_data/train/0_mask.png"] = encode(pixels, "PNG")
    out = prepared("p3", course)
    assert Manifest.load(out) == Manifest(GIVEN, 16, 16, "bilinear", 7, ["0", "1"], ["0002", "0013"])
    assert load_array(out, "train_images").shape == load_array(out, "validation_images").shape == (2, 16, 16, 3)
    masks = load_array(out, "train_masks")
    assert masks.shape == (2, 16, 16)
    assert set(np.unique(masks[0])) == {2, 4, 6}  # a smooth resize would make classes in between
    assert set(np.unique(masks[1])) <= {1, 4}


def test_p3_validation_masks_keep_their_own_sizes(prepared, course):
    first, second = load_masks(prepared("p3", course), "validation")  # 0002, 0013
    assert (first.shape, second.shape) == ((9, 5), (20, 24))
    assert (first[0, 0], second[0, 0]) == (0, 4)  # cyan is urban, blue water
    assert (np.delete(first, 0) == 1).all() and (np.delete(second, 0) == 1).all()


def drop(*names):
    return lambda members: [members.pop(name) for name in names]


def put(member, content):
    return lambda members: members.update({member: content})


TRAIN, VALIDATION, TILES = "p1_data/train_50", "p1_data/val_50", "p3_data/train"
OFFICE, MINI, OTHERS = "p2_data/office", "p2_data/mini/train", "p3_data/validation"
SMALL, CUT = encode(noise(0, 8, 8), "PNG"), encode(noise(0, 99, 99), "JPEG")[:2000]
TEXT_LABEL = "id,filename,label\n0,t0.jpg,1\n1,t1.jpg,cat\n2,t2.jpg,0\n"
FAULTS = [
    ("p1", put(f"{TRAIN}/0_2.png", b"text"), f"{TRAIN}/0_2.png: not a JPEG, PNG"),
    ("office", put(f"{OFFICE}/train/t1.jpg", CUT), f"{OFFICE}/train/t1.jpg: not a whole JPEG picture"),
    ("p1", put(f"{TRAIN}/cat_1.png", b""), "cat_1.png: label 'cat' is not a class"),
    ("p1", drop(f"{TRAIN}/0_2.png"), f"{TRAIN}/1_10.png: label 1, but the training images have 1 classes, 0-0"),
    ("p1", put(f"{VALIDATION}/2_0.png", SMALL), "2_0.png: label 2, but the training images have 2 classes, 0-1"),
    ("p1", drop(f"{VALIDATION}/0_0.png", f"{VALIDATION}/1_0.png"), f"{VALIDATION}: no pictures"),
    ("office", drop(f"{OFFICE}/val.csv"), f"{OFFICE}/val.csv: missing in the archive"),
    ("office", put(f"{OFFICE}/train.csv", TEXT_LABEL), "train.csv, line 3: label 'cat' is not a class number (0, 1"),
    ("office", put(f"{OFFICE}/train.csv", "0,t1.jpg,1\n"), "it must be a header"),
    (
        "office",
        drop(f"{OFFICE}/val/v1.jpg"),
        f"{OFFICE}/val/v1.jpg: no such picture, but {OFFICE}/val.csv has a line for it",
    ),
    ("mini", put(f"{MINI}.csv", table({"a.jpg": 0, "c.jpg": 1})), f"{MINI}/b.jpg: has no line in {MINI}.csv"),
    ("p3", drop(f"{TILES}/0_mask.png"), f"{TILES}/0_sat.jpg: has no mask; 0_mask.png must lie beside it"),
    ("p3", drop(f"{OTHERS}/0013_sat.jpg"), f"{OTHERS}/0013_mask.png: has no image; 0013_sat.jpg must lie beside it"),
    ("p3", put(f"{TILES}/1_mask.png", mask(32, 31, (0, 0, 0))), "1_mask.png: is 31x32 pixels, its image is 32x32"),
    ("p3", put(f"{OTHERS}/0002_mask.png", mask(9, 5, (255, 0, 0))), "0002_mask.png: red pixel at row 0, column 0"),
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs the stage for a part of an archive of the given members."""

    def run(part, members):
        shutil.copy(ROOT / "presets/quick.yaml", tmp_path / "params.yaml")
        monkeypatch.chdir(tmp_path)
        pack(members, tmp_path / "course.zip")
        arguments = ["--archive", "course.zip", "--reading", "read.json", "--out", f"out/{part}"]
        monkeypatch.setattr(sys, "argv", ["prepare", part, *arguments])
        stage.main()

    return run


@pytest.mark.parametrize("part, spoil, message", FAULTS)
def test_bad_input_is_named_and_leaves_no_folder(part, spoil, message, run, course, tmp_path):
    spoil(course)
    with pytest.raises(InputError, match=re.escape(message)):
        run(part, course)
    assert list((tmp_path / "out").iterdir()) == []


def test_stage_prepares_a_part_and_says_what_was_read(run, course, tmp_path, capsys):
    run("p3", course)
    told = "prepare p3: read 2 tiles with masks to train on, 2 tiles with masks to validate on; nothing left out\n"
    assert capsys.readouterr() == (told, "")
    assert json.loads((tmp_path / "read.json").read_text())["left_out"] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p3"]
    assert Manifest.load(tmp_path / "out/p3").train == ["0", "1"]


@pytest.mark.parametrize(
    "part, split, left_out",
    [
        *(("p1", "p1_data/train_50", "1_"), ("p1", "p1_data/val_50", "1_"), ("mini", "p2_data/mini/train", "[bc]")),
        *(("office", "p2_data/office/val", "v1"), ("p3", "p3_data/train", "1_"), ("p3", "p3_data/validation", "0013")),
    ],
)
def test_split_of_one_picture_is_told_before_anything_trains(part, split, left_out, prepared, course):
    for name in [name for name in course if re.match(f"{split}/{left_out}", name)]:
        del course[name]
    course["p2_data/office/val.csv"] = table({"v0.jpg": 0}) if part == "office" else course["p2_data/office/val.csv"]
    with pytest.raises(InputError, match=f"{split}: has 1 (picture|tile with its mask), at least 2 are needed; add"):
        prepared(part, course)
