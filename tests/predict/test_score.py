"""The scorer of masks on cases worked by hand, and against the course's own definition."""

import numpy as np
import pytest
from PIL import Image

from hw1.data.classes import LAND_COVER, MASK_COLOURS
from hw1.predict.score import iou_table, score_masks
from hw1.run.errors import InputError

URBAN, AGRICULTURE, RANGELAND, FOREST, WATER, BARREN, UNKNOWN = range(7)


def write(folder, **masks):
    folder.mkdir(exist_ok=True)
    for name, classes in masks.items():
        Image.fromarray(MASK_COLOURS[np.array(classes)]).save(folder / f"{name}_mask.png")


def table(tmp_path):
    text = iou_table(*score_masks(tmp_path / "truth", tmp_path / "predicted"))
    return {line[:12].strip(): line[12:].split()[0] for line in text.splitlines()}


def test_counts_are_summed_over_all_tiles_before_they_are_divided(tmp_path):
    write(tmp_path / "truth", a=[[URBAN, URBAN], [WATER, WATER]], b=[[URBAN, WATER]])
    write(tmp_path / "predicted", a=[[URBAN, WATER], [WATER, WATER]], b=[[WATER, WATER]])
    # Urban: 1 pixel of 3, never wrongly: 1/3. Water: 3 of 3, twice wrongly: 3/5.
    scores = table(tmp_path)
    assert scores["urban"] == "0.33333" and scores["water"] == "0.60000"
    assert scores["mean IoU"] == "0.46667"


def test_unknown_has_no_iou_but_a_class_predicted_there_is_a_false_positive(tmp_path):
    write(tmp_path / "truth", a=[[UNKNOWN, UNKNOWN, FOREST, FOREST]])
    write(tmp_path / "predicted", a=[[FOREST, UNKNOWN, FOREST, UNKNOWN]])
    scores = table(tmp_path)
    assert scores["forest"] == "0.33333"  # hit 1, false positive 1, missed 1
    assert "unknown" not in scores and scores["mean IoU"] == "0.33333"


def test_absent_class_is_said_and_left_out_of_the_mean(tmp_path):
    write(tmp_path / "truth", a=[[URBAN, UNKNOWN]])
    write(tmp_path / "predicted", a=[[URBAN, UNKNOWN]])
    scores = table(tmp_path)
    assert [scores[name] for name in LAND_COVER[:6]] == ["1.00000", *["absent"] * 5]
    assert scores["mean IoU"] == "1.00000"


def test_scores_are_those_of_the_courses_definition(tmp_path):
    draw = np.random.default_rng(0)
    truth, predicted = draw.integers(0, 7, (2, 5, 16, 16))
    for number in range(5):
        write(tmp_path / "truth", **{str(number): truth[number]})
        write(tmp_path / "predicted", **{str(number): predicted[number]})
    scores = table(tmp_path)
    ious = []
    for number, name in enumerate(LAND_COVER[:6]):  # over whole sets, pixel by pixel
        both = np.sum((predicted == number) * (truth == number))
        ious.append(both / (np.sum(predicted == number) + np.sum(truth == number) - both))
        assert scores[name] == f"{ious[-1]:.5f}"
    assert scores["mean IoU"] == f"{np.mean(ious):.5f}"


def test_prediction_that_is_absent_or_of_another_size_or_colour_is_named(tmp_path):
    write(tmp_path / "truth", a=[[URBAN]], b=[[URBAN]])
    write(tmp_path / "predicted", a=[[URBAN]])
    with pytest.raises(InputError, match=r"predicted/b_mask\.png: no such file, but .*truth/b_mask\.png is there"):
        table(tmp_path)
    write(tmp_path / "predicted", b=[[URBAN, URBAN]])
    with pytest.raises(InputError, match=r"predicted/b_mask\.png: 2 x 1 pixels, the true mask has 1 x 1"):
        table(tmp_path)
    Image.fromarray(np.array([[[255, 0, 0]]], np.uint8)).save(tmp_path / "predicted/b_mask.png")
    with pytest.raises(InputError, match=r"predicted/b_mask\.png: red pixel at row 0, column 0"):
        table(tmp_path)


def test_true_masks_of_one_class_are_never_scored(tmp_path):
    write(tmp_path / "truth", a=[[FOREST, FOREST]], b=[[FOREST]])
    write(tmp_path / "predicted", a=[[FOREST, WATER]], b=[[FOREST]])
    with pytest.raises(
        InputError, match="truth: every pixel of every mask is forest, one class alone: nothing to score"
    ):
        table(tmp_path)


def test_predicted_masks_of_one_class_are_scored_with_a_warning(tmp_path, capsys):
    write(tmp_path / "truth", a=[[FOREST, WATER]])
    write(tmp_path / "predicted", a=[[FOREST, FOREST]])
    assert table(tmp_path)["forest"] == "0.50000"
    assert capsys.readouterr().err.endswith("predicted: every pixel of every mask is forest, one class alone\n")


def test_masks_of_class_numbers_are_not_scored(tmp_path):
    write(tmp_path / "truth", a=[[FOREST, WATER]])
    (tmp_path / "predicted").mkdir()
    Image.fromarray(np.array([[3, 4]], np.uint8)).save(tmp_path / "predicted/a_mask.png")
    with pytest.raises(InputError, match=r"predicted/a_mask\.png: its brightest value is 4: class numbers"):
        table(tmp_path)


def test_predicted_masks_without_a_true_one_are_named(tmp_path, capsys):
    write(tmp_path / "truth", a=[[FOREST, WATER]])
    write(tmp_path / "predicted", a=[[FOREST, WATER]], b=[[FOREST]])
    assert table(tmp_path)["mean IoU"] == "1.00000"
    assert capsys.readouterr().err == "left out 1 predicted masks without a true one: b\n"
