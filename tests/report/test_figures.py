import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hw1.data.classes import MASK_COLOURS
from hw1.report import curves, figures

PROMISED = (
    *("p1_network_a", "p1_network_b", "p1_pca", "p1_tsne", "p1_curves", "p1_confusion"),
    *("p1_reliability", "p1_mistakes", "p2_reliability", "p2_mistakes"),
    *("start_curves", "p2_networks", "p2_pretraining", "p2_curves", "p2_bars", "p2_ranking", "p2_confusion"),
    *("p3_network_a", "p3_network_b", "p3_curves", "p3_masks_a", "p3_masks_b", "p3_iou_bars", "p3_confusion"),
)


@pytest.mark.parametrize("name", PROMISED)
@pytest.mark.parametrize("inputs", ["usual", "unusual"])
def test_plots_writes_the_promised_picture_of_any_inputs(inputs, name, request):
    with Image.open(request.getfixturevalue(inputs) / f"plots/figures/{name}.png") as picture:
        assert picture.format == "PNG" and picture.width > 900
        assert np.asarray(picture.convert("L")).std() > 10  # not one blank sheet


def test_plots_writes_nothing_else_and_an_empty_history_as_given_weights(usual, unusual):
    assert {path.stem for path in (usual / "plots/figures").iterdir()} == set(PROMISED)
    name = "plots/figures/p2_pretraining.png"
    assert (usual / name).read_bytes() != (unusual / name).read_bytes()
    assert pd.read_csv(unusual / "plots/history/pretrain/supervised.csv").empty


def test_a_picture_has_the_same_bytes_each_time(tmp_path):
    points = pd.DataFrame({"x": range(9), "y": range(9), "label": [0, 1, 2] * 3})
    for name in ("one.png", "two.png"):
        figures.pca_scatter(points, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_empty_histories_and_a_class_without_truth_do_not_fail(tmp_path):
    empty = pd.DataFrame(columns=["epoch", "lr", "train_loss", "train_accuracy"])
    byol = pd.DataFrame(columns=["epoch", "lr", "ema", "loss", "projection_std", "gradient_norm", "knn_office"])
    curves.pretraining_curves(empty, byol, {"supervised": {}, "BYOL": {}}, 128, tmp_path / "curves.png")
    counts = np.array([[3, 1], [0, 0]])
    figures.confusion_matrices({"A": counts}, {"A": "A"}, None, "confusion", tmp_path / "confusion.png")
    assert {path.name for path in tmp_path.iterdir()} == {"curves.png", "confusion.png"}


def test_legend_of_the_segmenters_covers_no_curve(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "save", lambda figure, path: drawn.append(figure))
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [2.0, 1.0], "val_loss": [2.0, 1.5], "val_miou": [0.1, 0.2]})
    named = {"A": "A, one", "B": "B, two"}
    curves.segmentation_curves({"A": history, "B": history}, named, named, tmp_path / "curves.png")
    drawn[0].draw_without_rendering()
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.texts] == [
        *("A, one, training", "A, one, validation", "B, two, training", "B, two, validation")
    ]
    assert all(axes.get_legend() is None for axes in drawn[0].axes)
    assert not any(axes.get_tightbbox().overlaps(legend.get_window_extent()) for axes in drawn[0].axes)


def test_masks_have_the_data_sets_colours(tmp_path):
    image, classes = np.zeros((10, 10, 3), np.uint8), np.repeat(np.arange(7, dtype=np.uint8), 28).reshape(14, 14)
    figures.mask_table({"1": image}, {"1": classes}, {("1", 1): classes}, "masks", tmp_path / "masks.png")
    with Image.open(tmp_path / "masks.png") as picture:
        drawn = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert drawn >= {tuple(colour) for colour in MASK_COLOURS.tolist()}


@pytest.mark.parametrize(
    "apart, expected",
    [
        ("", ["ABCD"]),
        ("AB AC AD BC BD CD", []),
        ("AC AD BD", ["AB", "BC", "CD"]),  # bars that overlap
        ("AB AC AD", ["BCD"]),
        ("AD", ["ABC", "BCD"]),
        ("BC", ["AB", "CD"]),  # A and D are not told apart, but what lies between them is
    ],
)
def test_bars_of_the_ranking_are_the_longest_runs_of_which_no_pair_is_told_apart(apart, expected):
    pairs = {frozenset(pair) for pair in apart.split()}
    runs = figures.groups("ABCD", lambda one, two: frozenset({one, two}) in pairs)
    assert runs == [tuple(run) for run in expected]
