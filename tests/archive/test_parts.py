"""Each part prepared from a small archive in the course's layout: the arrays, and every bad input."""

import io
import json
import os
import re
import shutil
import subprocess
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


# -- p1


def test_p1_is_stored_in_sorted_order_with_the_labels_of_its_names(prepared, course):
    out = prepared("p1", course)
    assert Manifest.load(out) == Manifest(
        GIVEN, 8, 8, "bicubic", 2, ["0_2.png", "1_10.png", "1_9.png"], ["0_0.png", "1_0.png"]
    )
    assert load_array(out, "train_labels").tolist() == [0, 1, 1]
    assert load_array(out, "validation_labels").tolist() == [0, 1]


def test_p1_pictures_of_the_stored_size_are_kept_bit_for_bit(prepared, course):
    images = load_array(prepared("p1", course), "train_images")
    assert images.dtype == np.uint8
    for image, name in zip(images, ("0_2", "1_10", "1_9"), strict=True):
        assert np.array_equal(image, np.asarray(picture(course[f"p1_data/train_50/{name}.png"])))


# -- mini


def test_mini_without_labels_has_no_classes(prepared, course):
    out = prepared("mini", course)
    assert Manifest.load(out) == Manifest(GIVEN, 10, 10, "bilinear", 0, ["a.jpg", "b.jpg", "c.jpg"], [])
    assert not (out / "train_labels.npy").exists()


def test_mini_is_resized_as_torchvision_does(prepared, course):
    images = load_array(prepared("mini", course), "train_images")
    resize = transforms.Resize((10, 10), transforms.InterpolationMode.BILINEAR)
    expected = [np.asarray(resize(picture(course[f"p2_data/mini/train/{name}.jpg"]))) for name in "abc"]
    assert np.array_equal(images, expected)


def test_mini_takes_the_labels_of_its_table(prepared, course):
    course["p2_data/mini/train.csv"] = table({"c.jpg": 0, "a.jpg": 1, "b.jpg": 0})
    out = prepared("mini", course)
    assert load_array(out, "train_labels").tolist() == [1, 0, 0]
    assert Manifest.load(out) == Manifest(GIVEN, 10, 10, "bilinear", 2, ["a.jpg", "b.jpg", "c.jpg"], [])


def test_given_weights_are_kept_beside_minis_arrays(prepared, course):
    course["pretrain_model_SL.pt"] = b"the course's weights"
    assert (prepared("mini", course) / "pretrain_model_SL.pt").read_bytes() == b"the course's weights"


# -- office


def test_office_is_stored_in_sorted_order_with_the_labels_of_its_tables(prepared, course):
    out = prepared("office", course)
    assert Manifest.load(out) == Manifest(
        GIVEN, 18, 12, "bicubic", 3, ["t0.jpg", "t1.jpg", "t2.jpg"], ["v0.jpg", "v1.jpg"]
    )
    assert load_array(out, "train_labels").tolist() == [1, 2, 0]
    assert load_array(out, "validation_labels").tolist() == [0, 2]
    assert load_array(out, "train_labels").dtype == np.int64


@pytest.mark.parametrize("resize, crop", [(18, 12), (232, 224)])
def test_office_is_resized_and_cropped_as_torchvision_does(prepared, course, resize, crop):
    sizes = Prepare(SIZES.p1, SIZES.mini, ResizeCrop(resize, crop, "bicubic"), SIZES.p3)
    images = load_array(prepared("office", course, sizes), "train_images")
    bicubic = transforms.InterpolationMode.BICUBIC
    reference = transforms.Compose([transforms.Resize((resize, resize), bicubic), transforms.CenterCrop(crop)])
    expected = [np.asarray(reference(picture(course[f"p2_data/office/train/t{index}.jpg"]))) for index in range(3)]
    assert np.array_equal(images, expected)


# -- p3


def test_p3_tiles_and_training_masks_are_square(prepared, course):
    out = prepared("p3", course)
    assert Manifest.load(out) == Manifest(GIVEN, 16, 16, "bilinear", 7, ["0", "1"], ["0002", "0013"])
    assert load_array(out, "train_images").shape == (2, 16, 16, 3)
    assert load_array(out, "validation_images").shape == (2, 16, 16, 3)
    assert load_array(out, "train_masks").shape == (2, 16, 16)


def test_p3_training_masks_hold_classes_only(prepared, course):
    pixels = noise(0, 32, 32) // 128 * np.array([255, 0, 255], np.uint8)  # black, blue, red, magenta
    pixels[..., 2] |= pixels[..., 0]  # no red
    course["p3_data/train/0_mask.png"] = encode(pixels, "PNG")
    masks = load_array(prepared("p3", course), "train_masks")
    assert set(np.unique(masks[0])) == {2, 4, 6}  # a smooth resize would make classes in between
    assert set(np.unique(masks[1])) <= {1, 4}


def test_p3_validation_masks_keep_their_own_sizes(prepared, course):
    first, second = load_masks(prepared("p3", course), "validation")  # 0002, 0013
    assert first.shape == (9, 5)
    assert second.shape == (20, 24)
    assert (first[0, 0], second[0, 0]) == (0, 4)  # cyan is urban, blue water
    assert (np.delete(first, 0) == 1).all()
    assert (np.delete(second, 0) == 1).all()


# -- bad input, through the stage


def drop(*names):
    return lambda members: [members.pop(name) for name in names]


def put(member, content):
    return lambda members: members.update({member: content})


FAULTS = {
    "no picture": ("p1", put("p1_data/train_50/0_2.png", b"text"), "p1_data/train_50/0_2.png: not a JPEG, PNG"),
    "cut jpeg": (
        "office",
        put("p2_data/office/train/t1.jpg", encode(noise(0, 99, 99), "JPEG")[:2000]),
        "p2_data/office/train/t1.jpg: not a whole JPEG picture",
    ),
    "label that is no number": ("p1", put("p1_data/train_50/cat_1.png", b""), "cat_1.png: label 'cat' is not a class"),
    "gap in the training labels": (
        "p1",
        drop("p1_data/train_50/0_2.png"),
        "p1_data/train_50/1_10.png: label 1, but the training images have 1 classes, 0-0",
    ),
    "validation label past the classes": (
        "p1",
        put("p1_data/val_50/2_0.png", encode(noise(0, 8, 8), "PNG")),
        "p1_data/val_50/2_0.png: label 2, but the training images have 2 classes, 0-1",
    ),
    "no files": ("p1", drop("p1_data/val_50/0_0.png", "p1_data/val_50/1_0.png"), "p1_data/val_50: no pictures"),
    "no table": ("office", drop("p2_data/office/val.csv"), "p2_data/office/val.csv: missing in the archive"),
    **{
        f"label {label!r}": (
            "office",
            put("p2_data/office/train.csv", f"id,filename,label\n0,t0.jpg,1\n1,t1.jpg,{label}\n2,t2.jpg,0\n"),
            f"p2_data/office/train.csv, line 3: label {label!r} is not a class number (0, 1, 2, ...)",
        )
        for label in ("cat", "-1", "1.5", "", "²")
    },
    "line without a label": (
        "office",
        put("p2_data/office/train.csv", "id,filename,label\n0,t0.jpg,1\n1,t1.jpg\n2,t2.jpg,0\n"),
        "p2_data/office/train.csv, line 3: label '' is not a class number",
    ),
    "table without header": ("office", put("p2_data/office/train.csv", "0,t1.jpg,1\n"), "it must be a header"),
    "line without image": (
        "office",
        drop("p2_data/office/val/v1.jpg"),
        "p2_data/office/val/v1.jpg: no such picture, but p2_data/office/val.csv has a line for it",
    ),
    "image without line": (
        "mini",
        put("p2_data/mini/train.csv", table({"a.jpg": 0, "c.jpg": 1})),
        "p2_data/mini/train/b.jpg: has no line in p2_data/mini/train.csv",
    ),
    "tile without mask": (
        "p3",
        drop("p3_data/train/0_mask.png"),
        "p3_data/train/0_sat.jpg: has no mask; 0_mask.png must lie beside it",
    ),
    "mask without tile": (
        "p3",
        drop("p3_data/validation/0013_sat.jpg"),
        "p3_data/validation/0013_mask.png: has no image; 0013_sat.jpg must lie beside it",
    ),
    "mask of another size": (
        "p3",
        put("p3_data/train/1_mask.png", mask(32, 31, (0, 0, 0))),
        "p3_data/train/1_mask.png: is 31x32 pixels, its image is 32x32",
    ),
    "red pixel": (
        "p3",
        put("p3_data/validation/0002_mask.png", mask(9, 5, (255, 0, 0))),
        "p3_data/validation/0002_mask.png: red pixel at row 0, column 0",
    ),
}


PATHS = ("--archive", "course.zip", "--reading", "read.json", "--out")


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder with a params.yaml, where the stage runs."""
    shutil.copy(ROOT / "presets/quick.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", FAULTS)
def test_bad_input_is_named_and_leaves_no_folder(workplace, course, monkeypatch, name):
    part, spoil, message = FAULTS[name]
    spoil(course)
    pack(course, workplace / "course.zip")
    monkeypatch.setattr(sys, "argv", ["prepare", part, *PATHS, f"out/{part}"])
    with pytest.raises(InputError) as caught:
        stage.main()
    assert message in str(caught.value)
    assert list((workplace / "out").iterdir()) == []


def run_stage(workplace, part):
    return subprocess.run(
        [sys.executable, "-m", "stages.prepare", part, *PATHS, f"out/{part}"],
        cwd=workplace,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def assert_one_line(result, message):
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_stage_prepares_a_part(workplace, course):
    pack(course, workplace / "course.zip")
    result = run_stage(workplace, "p3")
    told = "prepare p3: read 2 tiles with masks to train on, 2 tiles with masks to validate on; nothing left out\n"
    assert (result.returncode, result.stdout, result.stderr) == (0, told, "")
    assert json.loads((workplace / "read.json").read_text())["left_out"] == 0
    assert [path.name for path in (workplace / "out").iterdir()] == ["p3"]
    assert Manifest.load(workplace / "out/p3").train == ["0", "1"]


def test_zip_cut_in_half_ends_the_stage_on_one_line(workplace, course):
    archive = pack(course, workplace / "course.zip")
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    assert_one_line(run_stage(workplace, "p1"), "course.zip: not a whole zip file")


# -- very small sets


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
