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


@pytest.mark.parametrize(
    "truth, predicted, expected",
    [
        # Urban: 1 pixel of 3, never wrongly: 1/3. Water: 3 of 3, twice wrongly: 3/5; over all tiles before dividing.
        (
            {"a": [[URBAN, URBAN], [WATER, WATER]], "b": [[URBAN, WATER]]},
            {"a": [[URBAN, WATER], [WATER, WATER]], "b": [[WATER, WATER]]},
            {"urban": "0.33333", "water": "0.60000", "mean IoU": "0.46667"},
        ),
        # Unknown has no IoU, but a class predicted there is a false positive: hit 1, false positive 1, missed 1.
        (
            {"a": [[UNKNOWN, UNKNOWN, FOREST, FOREST]]},
            {"a": [[FOREST, UNKNOWN, FOREST, UNKNOWN]]},
            {"forest": "0.33333", "mean IoU": "0.33333"},
        ),
        ({"a": [[URBAN, UNKNOWN]]}, {"a": [[URBAN, UNKNOWN]]}, {"urban": "1.00000", "mean IoU": "1.00000"}),
    ],
)
def test_scores_of_hand_worked_cases_name_absent_classes_and_leave_them_out(truth, predicted, expected, tmp_path):
    write(tmp_path / "truth", **truth)
    write(tmp_path / "predicted", **predicted)
    assert table(tmp_path) == dict.fromkeys(LAND_COVER[:6], "absent") | expected


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


def test_prediction_that_is_absent_or_of_another_size_colour_or_encoding_is_named(tmp_path):
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
    Image.fromarray(np.array([[3]], np.uint8)).save(tmp_path / "predicted/b_mask.png")
    with pytest.raises(InputError, match=r"predicted/b_mask\.png: its brightest value is 3: class numbers"):
        table(tmp_path)


def test_true_masks_of_one_class_are_never_scored(tmp_path):
    write(tmp_path / "truth", a=[[FOREST, FOREST]], b=[[FOREST]])
    reason = "truth: every pixel of every mask is forest, one class alone: nothing to score"
    write(tmp_path / "predicted", a=[[FOREST, WATER]], b=[[FOREST]])
    with pytest.raises(InputError, match=reason):
        table(tmp_path)


@pytest.mark.parametrize(
    "predicted, forest, told",
    [
        ({"a": [[FOREST, FOREST]]}, "0.50000", "predicted: every pixel of every mask is forest, one class alone\n"),
        ({"a": [[FOREST, WATER]], "b": [[FOREST]]}, "1.00000", "left out 1 predicted masks without a true one: b\n"),
    ],
)
def test_predicted_masks_of_one_class_or_without_a_true_one_are_told(predicted, forest, told, tmp_path, capsys):
    write(tmp_path / "truth", a=[[FOREST, WATER]])
    write(tmp_path / "predicted", **predicted)
    assert table(tmp_path)["forest"] == forest
    assert capsys.readouterr().err.endswith(told)
