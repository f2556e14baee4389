from dataclasses import replace

import pytest
from made_up import ROOT

from hw1.report.choices import choices
from hw1.run.parameters.params import load
from hw1.statistics.published import BYOL_TABLES


def by_name(params, fc1=29_696, classes=50, given_backbone=True):
    return {choice.about: choice for choice in choices(params, fc1, classes, given_backbone)}


@pytest.fixture
def paper():
    return load(ROOT / "presets/paper.yaml")


def with_byol(params, **changes):
    return replace(params, pretrain=replace(params.pretrain, byol=replace(params.pretrain.byol, **changes)))


def test_what_is_said_of_the_paper_preset_is_what_it_holds(paper):
    assert {about: choice.here for about, choice in by_name(paper).items() if choice.paper} == {
        about: choice.paper for about, choice in by_name(paper).items() if choice.paper
    }


def test_quick_preset_differs_from_the_paper_preset_where_it_costs_time(params):
    different = {about for about, choice in by_name(params).items() if choice.paper not in ("", choice.here)}
    assert different == {
        *("P3, optimiser, batch and loss", "P2, BYOL's recipe", "P2, BYOL's moving average, projector and predictor"),
        *("P3, initial weights", "P3, size of the scores", "P2, images of the pre-training", "Precision"),
    }


def test_paper_preset_takes_one_of_byols_tables_whole(paper):
    byol = paper.pretrain.byol
    assert (byol.lr, byol.batch_size, byol.augmentation) == BYOL_TABLES["SSL Info"] == (0.0005, 128, "trivial128")


def test_options_on_the_page_take_the_other_table_whole(paper):
    why = by_name(paper)["P2, BYOL's recipe"].why
    options = dict(word.split("=") for word in why.split() if word.startswith(("pretrain.byol.", "prepare.mini.")))
    assert options == {
        "pretrain.byol.lr": "0.01",
        "pretrain.byol.batch_size": "256",
        "pretrain.byol.augmentation": "choice224",
        "prepare.mini.resize": "232",
        "prepare.mini.crop": "224",
        "prepare.mini.filter": "bicubic",
    }
    preset = (ROOT / "presets/paper.yaml").read_text()
    assert all(f"-S {key}={value}" in preset for key, value in options.items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, 'learning rate 0.0005, batch 128, trivial128: the table "SSL Info" whole'),
        (
            {"lr": 0.01, "batch_size": 256, "augmentation": "choice224"},
            'learning rate 0.01, batch 256, choice224: the table "SSL Model (BYOL)" whole',
        ),
        ({"lr": 0.01}, "learning rate 0.01, batch 128, trivial128: neither table whole"),
    ],
)
def test_byols_recipe_in_use_is_told_from_the_tables(paper, changes, said):
    assert by_name(with_byol(paper, **changes))["P2, BYOL's recipe"].here == said


def test_printed_head_tells_its_outputs_and_its_classes(params):
    here = by_name(params, classes=10)["P1 A, head"].here
    assert "fc1's 128 outputs are the scores, the first 10 stand for the classes" in here


def test_declared_head_is_told_apart(params):
    classify = replace(params.classify, A=replace(params.classify.A, head="declared"))
    assert by_name(replace(params, classify=classify))["P1 A, head"].here.startswith("as declared: fc1, ReLU, dropout")


def test_supervised_backbone_is_the_given_file_or_trained_here(params):
    said = [by_name(params, given_backbone=given)["P2, supervised backbone"].here for given in (True, False)]
    assert said == ["the given file", "trained by the pipeline on the labels of mini/train.csv"]


def test_input_of_the_small_cnn_is_told_from_what_was_recorded(params):
    assert by_name(params, fc1=77)["P1 A, network input"].here.endswith("32 × 232: fc1 has 77 inputs")
