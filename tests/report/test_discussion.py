import json
from dataclasses import replace

import pandas as pd
import pytest

from hw1.params import Setting
from hw1.report import discussion

ACCURACY = {"A": 0.41, "B": 0.595, "C": 0.496, "D": 0.539, "E": 0.34}


def sentences(params, accuracy, images=406):
    themes = discussion.setting_sentences(params.settings, accuracy, images)
    return [sentence for theme in themes.values() for sentence in theme]


def sentence_on(params, accuracy, first, second, images=406):
    found = [s for s in sentences(params, accuracy, images) if f"({first})" in s and f"({second})" in s]
    assert len(found) == 1
    return found[0]


def test_a_large_difference_is_resolved(params):
    assert "(B) is 18.5 points above random weights (A): resolved" in sentence_on(params, ACCURACY, "A", "B")


def test_a_small_difference_is_not_resolved(params):
    found = sentence_on(params, ACCURACY | {"B": 0.43}, "A", "B")
    assert "(B) is 2.0 points above random weights (A): not resolved by 406 images" in found


def test_the_higher_setting_is_named_first(params):
    found = sentence_on(params, ACCURACY | {"A": 0.70}, "A", "B")
    assert "random weights (A) is 10.5 points above the supervised backbone (B)" in found


def test_the_report_keeps_its_own_direction_when_ours_is_reversed(params):
    assert "In the report A is 18.5 points below B" in sentence_on(params, ACCURACY | {"A": 0.70}, "A", "B")


def test_more_images_resolve_the_same_difference(params):
    assert "not resolved by 406 images" in sentence_on(params, ACCURACY, "A", "C").split("In the report")[0]
    assert ": resolved" in sentence_on(params, ACCURACY, "A", "C", images=4060)


def test_equal_settings_are_level(params):
    assert "(A) is level with" in sentence_on(params, ACCURACY | {"B": 0.41}, "A", "B")


def test_sentences_speak_only_of_settings_that_differ_in_one_thing(params):
    assert len(sentences(params, ACCURACY)) == 6  # A-B, A-C, B-C, D-E, B-D, C-E


def test_a_changed_setting_is_not_compared_with_the_reports(params):
    settings = params.settings | {"A": Setting(backbone="byol", train="classifier")}
    changed = replace(params, settings=settings)
    assert all("The report has no such pair" in s for s in sentences(changed, ACCURACY) if "(A)" in s)


def test_published_figures_resolve_six_of_ten_pairs():
    resolved = {pair for pair, result in discussion.compare_published().items() if result.resolved}
    # A-C 8.6, A-E 7, B-D 5.6 and C-D 4.3 points are too small for 406 images and ten pairs
    assert resolved == {("A", "B"), ("A", "D"), ("B", "C"), ("B", "E"), ("C", "E"), ("D", "E")}


def test_ranking_names_a_setting_that_is_not_above_chance(params):
    ranking = discussion.ranking_sentences(params.settings, ACCURACY | {"E": 0.11}, 406, chance=0.1)
    assert "E: not above chance (10.0 %)." in ranking


def test_ranking_counts_agreement_with_the_report(params):
    ranking = discussion.ranking_sentences(params.settings, ACCURACY, 406, chance=0.1)
    assert "Resolved in both: 6, in the same direction: 6. Resolved in the report only: 0; here only: 0." in ranking[-1]


def test_ranking_counts_a_reversed_difference_as_another_direction(params):
    ranking = discussion.ranking_sentences(params.settings, ACCURACY | {"A": 0.9}, 406, chance=0.1)
    assert "Resolved in both: 6, in the same direction: 4." in ranking[-1]  # A-B and A-D turned round


def test_classifier_sentence_follows_the_numbers():
    assert discussion.classifier_sentence({"A": 0.8, "B": 0.6}, 500).startswith("B is 20.0 points below A: resolved")


METRICS = {
    "miou": {"A": 0.5, "B": 0.4},
    "iou": {"urban": {"A": 0.6, "B": 0.3}, "water": {"A": None, "B": None}, "forest": {"A": 0.4, "B": 0.5}},
}


@pytest.mark.parametrize(
    "sentence",
    [
        "The mean IoU of B is 10.0 points below that of A; in the report it is 16.5 points above it.",
        "A has the higher IoU in urban (by 30.0).",
        "B has the higher IoU in forest (by 10.0).",
        "Without an IoU, as neither truth nor prediction holds it: water.",
    ],
)
def test_segmentation_sentences_follow_the_numbers(sentence):
    assert sentence in discussion.segmentation_sentences(METRICS, "forest", 0.1, 48)


def test_segmentation_sentence_names_no_class_where_none_is_ahead():
    metrics = json.loads(json.dumps(METRICS).replace('"B": 0.5', '"B": 0.3'))
    assert "B has the higher IoU in no class." in discussion.segmentation_sentences(metrics, "forest", 0.1, 48)


@pytest.mark.parametrize(("after", "word"), [(0.5, "rises by 30.0 points"), (0.1, "falls by 10.0"), (0.2, "does not")])
def test_tsne_sentence_follows_the_agreement(after, word):
    rows = [("pca", 3, 0.9, 0.1), ("tsne", 1, 0.2, 0.1), ("tsne", 3, after, 0.1)]
    assert word in discussion.tsne_sentence(rows)


def test_tsne_sentence_of_one_epoch_claims_no_change():
    assert "one epoch only" in discussion.tsne_sentence([("tsne", 1, 0.2, 0.1)])


def test_projection_rows_have_one_row_per_picture():
    table = pd.DataFrame({"method": ["tsne"] * 6, "epoch": [1, 1, 1, 2, 2, 2], "x": range(6), "y": 0, "label": 0})
    assert [row[:3] for row in discussion.projection_rows(table)] == [("tsne", 1, 1.0), ("tsne", 2, 1.0)]
