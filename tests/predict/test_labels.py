"""Labels of images: which are predicted, in what order, what is named, and what is scored."""

import csv
import os

import numpy as np
import pytest
import torch
from cards import saved
from PIL import Image

from hw1.archive.pictures import resized_crop
from hw1.images.input import normalise
from hw1.predict.labels import items_of_folder, items_of_table, predict_labels
from hw1.predict.model import Predictor
from hw1.run.errors import InputError

CLASSES = 7


@pytest.fixture
def network(tmp_path):
    return saved("finetune@C", tmp_path / "C.safetensors", CLASSES)


@pytest.fixture
def predictor(network, tmp_path):
    return Predictor.load(tmp_path / "C.safetensors", "finetune", "cpu", batch_size=4)


@pytest.fixture
def folder(tmp_path):
    """Eleven pictures of several sizes."""
    (tmp_path / "images").mkdir()
    for number in range(11):
        draw = np.random.default_rng(number)
        pixels = draw.integers(0, 256, (20 + 3 * number, 40 - number, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{number}.png")
    return tmp_path / "images"


@pytest.fixture
def predict(predictor, folder, tmp_path):
    """A function that predicts the folder, or the lines of a table: what was done, the rows written, the reading."""

    def predict(table=None):
        if table is not None:
            (tmp_path / "t.csv").write_text(table)
        items, reading = items_of_folder(folder) if table is None else items_of_table(tmp_path / "t.csv", folder)
        columns = ("filename", "label") if table is None else ("id", "filename", "label")
        done = predict_labels(predictor, items, tmp_path / "out.csv", columns)
        header, *rows = lines(tmp_path / "out.csv")
        assert header == list(columns)
        return done, rows, reading

    return predict


def expected(network, path):
    stored = resized_crop(Image.open(path), 36, 32, "bicubic")
    with torch.no_grad():
        return network(normalise(torch.from_numpy(stored.copy()).permute(2, 0, 1)[None])).argmax().item()


def lines(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_every_image_gets_the_label_the_network_gives_its_stored_picture(predict, network, folder):
    done, rows, _ = predict()
    assert rows == [[path.name, str(expected(network, path))] for path in sorted(folder.iterdir())]
    assert (done.images, done.faults, done.score) == (11, 0, "")


def test_table_gives_id_file_name_and_order(predict, network, folder, capsys):
    _, rows, _ = predict("id,filename,label\n9,3.png,\n4,10.png,\n5,0.png,\n")
    names = (("9", "3.png"), ("4", "10.png"), ("5", "0.png"))
    assert rows == [[number, name, str(expected(network, folder / name))] for number, name in names]
    assert capsys.readouterr().err == ""  # nothing of a score, where there is no label at all


def test_known_labels_are_scored(predict, network, folder):
    truth = {name: expected(network, folder / name) for name in ("0.png", "1.png", "2.png")}
    truth["3.png"] = (expected(network, folder / "3.png") + 1) % CLASSES
    rows = [f"{number},{name},{label}" for number, (name, label) in enumerate(truth.items())]
    done, *_ = predict("\n".join(["id,filename,label", *rows]))
    assert done.score == "accuracy 0.7500 (3 of 4)"


@pytest.mark.parametrize(
    "labels, told",
    [
        (("1", ""), "1 of 2 images have no label 0-6"),
        (("chair", "chair"), "2 of 2 images have no label 0-6 ('chair')\n"),
        (("7", "7"), "2 of 2 images have no label 0-6 ('7')\n"),
        (("-1", "-1"), "2 of 2 images have no label 0-6 ('-1')\n"),
        (("1.5", "1.5"), "2 of 2 images have no label 0-6 ('1.5')\n"),
    ],
)
def test_without_a_label_of_every_image_there_is_no_score_and_a_line_says_so(labels, told, predict, capsys):
    done, rows, _ = predict("id,filename,label\n0,3.png,{}\n1,4.png,{}\n".format(*labels))
    assert done.score == "" and len(rows) == 2
    assert capsys.readouterr().err.startswith(f"no score: {told}")


def as_pipe(path):
    path.unlink()
    os.mkfifo(path)


def as_dangling_link(path):
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "not a whole PNG picture"),
        (lambda path: path.write_text("hello"), "not a JPEG, PNG, WebP, BMP or TIFF picture"),
        (lambda path: path.write_bytes(b""), "not a JPEG, PNG, WebP, BMP or TIFF picture"),
        (as_pipe, "no such file"),
        (as_dangling_link, "no such file"),
    ],
)
def test_unreadable_image_is_named_and_the_rest_is_done(spoil, reason, predict, folder, capsys):
    spoil(folder / "5.png")
    done, rows, _ = predict()
    assert (done.images, done.faults) == (11, 1)
    told = capsys.readouterr().err
    assert told.startswith(f"{folder}/5.png: {reason}") and told.count("\n") == 1
    assert {row[0] for row in rows} == {f"{number}.png" for number in range(11) if number != 5} and len(rows) == 10


def test_images_none_of_which_can_be_read_leave_the_older_file(predict, tmp_path):
    (tmp_path / "out.csv").write_text("older")
    with pytest.raises(InputError, match="none of the 2 images could be read; nothing is written"):
        predict("id,filename\n1,a.png\n2,b.png\n")
    assert (tmp_path / "out.csv").read_text() == "older"


def test_batch_that_does_not_fit_in_memory_names_its_option(predict, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("hw1.predict.model.logits_of", fail)
    with pytest.raises(InputError, match=r"--batch-size: 4 images do not fit in the memory of .*; take fewer"):
        predict()
    assert not (tmp_path / "out.csv").exists()


def test_printed_heads_outputs_beyond_the_classes_are_no_label(tmp_path, folder):
    network = saved("classify@A", tmp_path / "A.safetensors", 3)
    predictor = Predictor.load(tmp_path / "A.safetensors", "classify", "cpu")
    predict_labels(predictor, items_of_folder(folder)[0], tmp_path / "out.csv", ("filename", "label"))
    labels = [int(row[1]) for row in lines(tmp_path / "out.csv")[1:]]
    assert len(labels) == 11 and set(labels) <= {0, 1, 2}
    assert network(torch.rand(11, 3, 32, 32)).argmax(1).max() > 2  # it does say others


def test_course_names_give_labels(folder):
    for name in ("12_345.png", "x_1.png"):
        (folder / name).write_bytes(b"")
    labels = {item.path.name: item.label for item in items_of_folder(folder)[0]}
    assert labels["12_345.png"] == 12 and labels["x_1.png"] is None and labels["3.png"] is None


@pytest.mark.parametrize(
    "text, reason",
    [
        ("a.png,1\n", "its first line is 'a.png,1', but it must be a header with filename, such as id,filename,label"),
        ("id,filename\n", "no lines after its header"),
        ("id,filename\n1,../secret.png\n", "line 2: '../secret.png' is no file name in a folder"),
        ("id,filename\n1,/etc/passwd\n", "line 2: '/etc/passwd' is no file name in a folder"),
        ("id,filename\n1,a.png\n2,a.png\n", "line 3: file name 'a.png' is empty or stands twice"),
    ],
)
def test_faulty_table_is_named(text, reason, folder, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError) as error:
        items_of_table(tmp_path / "t.csv", folder)
    assert str(error.value).startswith(f"{tmp_path}/t.csv: {reason}")


def test_missing_table_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        items_of_table(tmp_path / "none.csv", tmp_path)
    with pytest.raises(InputError, match="none: no such folder"):
        items_of_folder(tmp_path / "none")
    with pytest.raises(InputError, match="no pictures in it, it is empty"):
        items_of_folder(tmp_path)


def test_batch_is_the_trainings_unless_given(network, tmp_path):
    assert Predictor.load(tmp_path / "C.safetensors", "finetune", "cpu").batch_size == 32
    assert Predictor.load(tmp_path / "C.safetensors", "finetune", "cpu", 5).batch_size == 5


def test_pictures_of_a_folder_are_taken_by_their_content_and_the_rest_is_named(predict, folder):
    for number, (kind, ending) in enumerate((("WEBP", ".webp"), ("BMP", ".BMP"), ("TIFF", ".tiff"), ("PNG", ""))):
        Image.open(folder / f"{number}.png").save(folder / f"more{number}{ending}", kind)
    (folder / "notes.txt").write_text("mine")
    (folder / ".DS_Store").write_text("")
    (folder / "old").mkdir()
    done, _, reading = predict()
    assert done.images == 15
    assert reading.line == (
        "read 15 pictures; left out 1 (hidden, or a system's own): .DS_Store; "
        "left out 1 (no JPEG, PNG, WebP, BMP or TIFF picture): notes.txt; "
        "left out 1 (not where the layout has files): old"
    )


def test_table_of_file_names_alone_is_numbered(predict):
    _, rows, reading = predict("filename\n3.png\n0.png\n")
    assert [row[:2] for row in rows] == [["0", "3.png"], ["1", "0.png"]]
    assert reading.line.startswith("read 2 lines of the csv; left out 9 (without a line in the csv): 1.png, 10.png")


def test_names_of_a_table_that_differ_in_case_folder_or_ending_are_found(predict, folder):
    (folder / "in").mkdir()
    (folder / "0.png").rename(folder / "in/0.png")
    done, rows, reading = predict("filename\n3.PNG\nval/4.png\n5.jpg\nin/0.png\n")
    assert (done.images, done.faults) == (4, 0)
    assert [row[1] for row in rows] == ["3.PNG", "val/4.png", "5.jpg", "in/0.png"]
    assert "the csv spells 3 names otherwise: 3.PNG for 3.png, 5.jpg for 5.png, val/4.png for 4.png" in reading.line
    assert "in" not in reading.left_out
