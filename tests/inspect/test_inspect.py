"""What the pipeline would take from a path: said in lines, without a run."""

import sys

import numpy as np
import pytest
import torch
from limits import limits
from PIL import Image
from small_course import course_members, encode, mask, noise, pack
from torchvision.models import resnet18

from hw1.inspect.__main__ import main
from hw1.inspect.layout import size_range
from hw1.run.errors import InputError


@pytest.fixture
def said(monkeypatch, capsys):
    """A function of a path: the exit status and the lines of the command."""

    def said(path):
        monkeypatch.setattr(sys, "argv", ["hw1.inspect", str(path)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().out.splitlines()

    return said


def test_archive_is_told_part_by_part(said, tmp_path):
    status, lines = said(pack(course_members(), tmp_path / "a.zip"))
    assert status == 0
    assert lines == [
        f"{tmp_path}/a.zip: 23 files in hw1_data/",
        "P1",
        "  train: 3 PNG, each 8 x 8",
        "  train: 2 classes, 0 to 1, 1 to 2 pictures each",
        "  validation: 2 PNG, each 8 x 8",
        "  validation: 2 classes, 0 to 1, 1 pictures each",
        "P2, pre-training",
        "  train: 3 JPEG, each 14 x 12",
        "  no labels (no mini/train.csv), so settings B and D have nothing to start from",
        "P2, fine-tuning",
        "  train: 3 JPEG, each 30 x 21",
        "  train: 3 classes, 0 to 2, 1 pictures each",
        "  validation: 2 JPEG, each 30 x 21",
        "  validation: 2 classes, 0 to 2 (none of 1), 1 pictures each",
        "P3",
        "  train: 2 JPEG, each 32 x 32",
        "  train: 2 masks: urban 0.0 %, agriculture 99.9 %, water 0.0 %, each 32 x 32",
        "  validation: 2 JPEG, 2 sizes from 5 x 9 to 24 x 20",
        "  validation: 2 masks: urban 0.2 %, agriculture 99.6 %, water 0.2 %, 2 sizes from 5 x 9 to 24 x 20",
    ]


def test_what_would_be_refused_or_left_out_and_a_leak_are_told_for_every_part(said, tmp_path):
    course = course_members()
    course["p1_data/val_50/1_77.png"] = course["p1_data/train_50/1_9.png"]
    status, lines = said(pack(course, tmp_path / "a.zip"))
    assert status == 0
    assert "  a leak: 1 of the validation are among the training's: 1_77.png = 0_2.png" in lines
    del course["p2_data/office/train.csv"]
    course |= {"p1_data/train_50/1_3.png": b"none", "p1_data/val_50/7_3.png": encode(noise(0, 8, 8), "PNG")}
    course |= {"p3_data/train/0_mask.png": mask(32, 32, (255, 0, 0)), "p3_data/notes.txt": b""}
    course |= {"p3_data/train/1_mask.png": mask(6, 5, (0, 255, 255))}
    status, lines = said(pack(course, tmp_path / "a.zip"))
    text = "\n".join(lines)
    assert status == 1
    assert text.count("refused: ") == 5
    assert "p1_data/train_50/1_3.png: not a JPEG, PNG, WebP, BMP or TIFF picture; replace or remove it" in text
    assert "p1_data/val_50/7_3.png: label 7, but the training images have 2 classes, 0-1" in text
    assert "p2_data/office/train.csv: missing in the archive" in text
    assert "p3_data/train/0_mask.png: red pixel at row 0, column 0" in text
    assert "p3_data/train/1_mask.png: is 5x6 pixels, its image is 32x32" in text
    assert "left out 1 (not where the layout has files): p3_data/notes.txt" in text


def test_folder_in_the_layout_is_told_as_an_archive_is(said, tmp_path):
    for name, content in course_members().items():
        path = tmp_path / "mine/data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    status, lines = said(tmp_path / "mine")
    assert status == 0 and lines[0].endswith("mine: 23 files in the top folder")
    assert "  train: 3 JPEG, each 30 x 21" in lines


def test_folder_of_pictures_is_told(said, tmp_path):
    for number in range(3):
        Image.fromarray(noise(number, 8, 8 + number)).save(tmp_path / f"{number}_sat.png")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "0_mask.png")
    (tmp_path / "x.txt").write_text("")
    status, lines = said(tmp_path)
    assert status == 0
    assert lines == [
        f"{tmp_path}, tiles: 3 PNG, 3 sizes from 8 x 8 to 10 x 8",
        f"{tmp_path}, masks: 1 PNG, each 8 x 8",
        "3 tiles, 1 masks, 1 pairs",
        "left out 1 (no JPEG, PNG, WebP, BMP or TIFF picture): x.txt",
    ]


def test_table_is_told_and_a_label_of_nine_digits_costs_no_memory(said, tmp_path):
    (tmp_path / "t.csv").write_text("Image;Label\na.jpg;0\nb.jpg;2\nc.jpg;cat\n")
    status, lines = said(tmp_path / "t.csv")
    assert status == 1
    assert lines == [
        f"{tmp_path}/t.csv: 3 lines, separated by semicolons",
        "filename is taken from the column 'Image'",
        "2 classes, 0 to 2 (none of 1), 1 lines each",
        "refused: line 4: label 'cat' is not a class number (0, 1, 2, ...)",
    ]
    (tmp_path / "t.csv").write_text("filename,label\na.jpg,0\nb.jpg,999999999\n")
    with limits(10, 100 << 20):
        _, lines = said(tmp_path / "t.csv")
    assert lines[1] == "2 classes, 0 to 999999999 (none of 1, 2, 3, 4, 5 and more), 1 lines each"


def test_weights_are_told(said, tmp_path):
    torch.save({"state_dict": resnet18().state_dict()}, tmp_path / "w.pth")
    status, lines = said(tmp_path / "w.pth")
    assert status == 0 and lines[0].startswith(f"{tmp_path}/w.pth: 122 tensors, 11,699,132 numbers (float32, int64), ")


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("none.zip", None, "no such file or folder"),
        ("a.zip", b"7z\xbc\xaf\x27\x1c", "a 7z archive, which is not read"),
        ("t.csv", b"a,b\n", "its first line is 'a,b'"),
        ("w.pt", b"PK", "not a whole file of plain tensors"),
    ],
)
def test_what_cannot_be_told_is_one_line(name, content, reason, said, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=reason):
        said(tmp_path / name)


def test_sizes_that_are_told_are_sizes_of_pictures():
    assert size_range({(100, 20): 1, (30, 60): 1, (40, 70): 1}) == "3 sizes from 30 x 60 to 40 x 70"
    assert size_range({(7, 9): 3}) == "each 7 x 9"
