"""The page's table of choices: what is said of the parameters in use, and of the paper preset."""

import html
import re
from dataclasses import replace

import pytest
from made_up import ROOT, page_paths

from hw1.report.page import read_inputs, render
from hw1.run.parameters.params import load
from hw1.statistics.published import BYOL_TABLES


@pytest.fixture
def choices(usual):
    """The rows (used here, of the paper preset and why) by what they are about, for other parameters or inputs."""

    def rows(params, **changes):
        page = render(read_inputs(params, page_paths(usual)) | changes, "choices.html.j2")
        cells = re.findall(r"<tr><th>(.*?)</th><td>.*?</td><td>(.*?)</td>\s*<td>(.*?)</td></tr>", page)
        return {about: (used, paper) for about, used, paper in (map(html.unescape, row) for row in cells)}

    return rows


@pytest.fixture
def paper():
    return load(ROOT / "presets/paper.yaml")


def test_what_is_said_of_the_paper_preset_is_what_it_holds(choices, paper):
    rows = choices(paper)
    assert len(rows) == 25
    classes = "the first {} stand for the classes"  # those of the made-up data are not the course's
    head = rows.pop("P1 A, head")
    assert head[1].startswith(head[0].replace(classes.format(10), classes.format(50)))
    assert {about for about, (_, said) in rows.items() if not said.startswith("the same")} == set()


def test_quick_preset_differs_from_the_paper_preset_where_it_costs_time(choices, params):
    different = {about for about, (_, said) in choices(params).items() if not said.startswith("the same")}
    assert different - {"P1 A, head"} == {
        *("P3, optimiser, batch and loss", "P2, BYOL's recipe", "P2, BYOL's moving average, projector and predictor"),
        *("P3, initial weights", "P3, size of the scores", "P2, images of the pre-training", "Precision"),
    }


def test_options_on_the_page_take_the_other_table_whole(choices, paper):
    words = choices(paper)["P2, BYOL's recipe"][1].split()
    options = dict(word.split("=") for word in words if word.startswith(("pretrain.byol.", "prepare.mini.")))
    byol = {"lr": "0.01", "batch_size": "256", "augmentation": "choice224"}
    mini = {"resize": "232", "crop": "224", "filter": "bicubic"}
    expected = {f"pretrain.byol.{name}": value for name, value in byol.items()}
    assert options == expected | {f"prepare.mini.{name}": value for name, value in mini.items()}
    preset = (ROOT / "presets/paper.yaml").read_text()
    assert all(f"-S {key}={value}" in preset for key, value in options.items())


@pytest.mark.parametrize(
    "changes, said",
    [
        (BYOL_TABLES["SSL Info"], 'learning rate 0.0005, batch 128, trivial128: the table "SSL Info" whole'),
        ((0.01, 256, "choice224"), 'learning rate 0.01, batch 256, choice224: the table "SSL Model (BYOL)" whole'),
        ((0.01, 128, "trivial128"), "learning rate 0.01, batch 128, trivial128: neither table whole"),
    ],
)
def test_byols_recipe_in_use_is_told_from_the_tables(choices, paper, changes, said):
    byol = paper.pretrain.byol
    assert (byol.lr, byol.batch_size, byol.augmentation) == BYOL_TABLES["SSL Info"] == (0.0005, 128, "trivial128")
    byol = replace(byol, **dict(zip(("lr", "batch_size", "augmentation"), changes, strict=True)))
    assert choices(replace(paper, pretrain=replace(paper.pretrain, byol=byol)))["P2, BYOL's recipe"][0] == said


def test_small_cnn_is_told_by_its_head_its_levels_and_what_was_recorded_of_it(choices, params):
    rows = choices(params)
    assert "fc1's 128 outputs are the scores, the first 10 stand for the classes" in rows["P1 A, head"][0]
    assert rows["P1 A, network input"][0].endswith("32 × 232: fc1 has 29,696 inputs")
    small = replace(params.classify.A, head="declared", normalise=False)
    rows = choices(replace(params, classify=replace(params.classify, A=small)))
    assert rows["P1 A, head"][0].startswith("as declared: fc1, ReLU, dropout")
    assert rows["P1 A, levels"][0] == "levels of 0 to 255"


def test_supervised_backbone_and_settings_of_another_recipe_are_told(choices, params):
    said = [choices(params, given_weights=file)["P2, supervised backbone"][0] for file in ("some.pt", "")]
    assert said == ["the given file", "trained by the pipeline on the labels of mini/train.csv"]
    settings = params.settings | {"A": replace(params.settings["A"], lr=0.001, epochs=50)}
    said = choices(replace(params, settings=settings))["P2, recipe of the five settings"][0]
    assert said == "of their own: A 0.001, 50"
