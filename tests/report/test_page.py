import base64
import json
import re
from html.parser import HTMLParser

import pytest
from made_up import ROOT, page_paths, write_inputs

from hw1.archive.archive import EQUIVALENT
from hw1.report.page import read_inputs, render
from hw1.run.parameters.params import load

SEED = load(ROOT / "presets/quick.yaml").seed


class Page(HTMLParser):
    """Links, pictures, ids and unclosed tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.pictures, self.ids, self.open, self.text = [], [], set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.addresses += [values[name] for name in ("src", "href", "srcset", "action") if name in values]
        if tag == "img":
            self.pictures.append(values)
        self.ids.add(values.get("id"))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    @property
    def words(self):
        return " ".join(self.text.split())


def read(root):
    return Page((root / "report/index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(usual):
    return read(usual)


@pytest.fixture
def rerun(usual, tmp_path):
    """Render again with inputs written afresh, on the pictures that are there."""

    def rendered(archive=None, **changes):
        root = write_inputs(tmp_path, **changes)
        if archive:
            (root / "data/raw/archive.json").write_text(json.dumps(archive))
        paths = page_paths(root, usual / "plots/figures")
        return Page(render(read_inputs(load(root / "params.yaml"), paths)))

    return rendered


def test_page_refers_to_nothing_outside_itself_but_the_records_beside_it(usual, page):
    outside = [address for address in page.addresses if not address.startswith(("data:image/png;base64,", "#"))]
    assert outside == ["records.js"]
    assert not re.search(r"@import|url\(|fetch\(|import\(", (usual / "report/index.html").read_text(encoding="utf-8"))


def test_page_is_whole_and_shows_each_picture_once(usual, page):
    assert page.open == []  # every tag is closed
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= page.ids
    assert all(len(picture["alt"]) > 20 for picture in page.pictures)
    shown = sorted(base64.b64decode(picture["src"].split(",", 1)[1]) for picture in page.pictures)
    assert shown == sorted(path.read_bytes() for path in (usual / "plots/figures").iterdir())


@pytest.mark.parametrize(
    "pattern",
    [
        # the origin of the data, and what was left out of them
        "not the course's data, so our numbers and the report's are not comparable one to one",
        "files left out.* 50 ?2 ?P2, pre-training",
        r"P1: left out 2 \(hidden, or a system's own\): \.DS_Store, Thumbs\.db\.",
        # claims, sections and results with intervals, in this order
        "The report's claims, each tried.*62.0 ?30.7.*Problem 1: .*Settings of model A.*Problem 2: .*Problem 3: ",
        r"P1 A ?small CNN ?62.0 ?30.7 ?64.0 \(9\) ?58.0 to 66.0",
        "mean of six classes ?42.5 ?38.5 to 46.5 ?62.5 ?58.5 to 66.5 ?56.4 ?72.9",
        # BYOL's features beside those of the start
        "The projections did not collapse; in the last epoch their spread is 0.80",
        r"are told right \(95 % interval 35.3 to 44.8\), by those of the random start 18.0 %",
        "before training ?BYOL ?supervised",
        r"fine-tuning images, linear classifier \(%\) ?28.0 ?45.0 ?55.0",
        r"pre-training images, nearest neighbours \(%\) ?8.0 ?25.0 ?30.0",
        "pre-training images, effective rank ?41.2 ?80.0 ?99.5",
        # BYOL's settings with the table of each value
        r'learning rate ?0.0005 \("SSL Info"\) ?0.01 \("SSL Model \(BYOL\)"\); 0.0005 \("SSL Info"\)',
        r"32 \(neither table\)",
        # each choice beside the paper preset's
        "learning rate 0.0005, batch 32, choice224: neither table whole",
        'learning rate 0.0005, batch 128, trivial128: the table "SSL Info" whole; the second table',
        "P2, BYOL's loss ?the first table says .* both directions ?the formula ?the same; a focal",
        f"Each model was trained once here, with seed {SEED}",
    ],
)
def test_page_says(pattern, page):
    assert re.search(pattern, page.words)


@pytest.mark.parametrize(
    "origin, said",
    [
        ("given archive", "Its counts of images or classes are not those of the course's archive"),
        (EQUIVALENT, "It is equivalent by construction: built from the public data sets"),
    ],
)
def test_other_archive_is_named_with_its_hash_and_origin(rerun, origin, said):
    words = rerun({"source": "path", "origin": origin, "name": "<b>&.zip", "sha256": "cd" * 32, "bytes": 10}).words
    assert "the archive <b>&.zip" in words  # escaped
    assert "cd" * 32 in words and said in words


def test_discussion_changes_its_verdict_with_the_numbers(page, rerun):
    sentence = "the supervised backbone (B) is {} points above random weights (A): {}"
    assert (
        sentence.format("19.0", "seen in these weights on 406 images (p = 0.010, 95 % interval 13.0 to 25.0)")
        in page.words
    )
    close = {"A": 0.41, "B": 0.43, "C": 0.50, "D": 0.54, "E": 0.34}
    assert sentence.format("2.0", "not seen in these weights on 406 images") in rerun(p2=close).words


@pytest.mark.parametrize(
    "words",
    [
        "The projections collapsed in 3 of 3 epochs; in the last epoch their spread is 0.05",
        "trained anew with 5 seeds",
        "In the mean over seeds B is 19.0 points above A: holds over 5 seeds and 406 images (p = 0.020",
        "is not resolved over 5 seeds and 406 images (p = 0.30",
        "is the given file pretrain_model_SL.pt",
        "Without an IoU, as neither truth nor prediction holds it: water.",
        "Not as in the report, or not in it: setting F.",
    ],
)
def test_what_is_unusual_is_said_and_only_then(words, page, unusual):
    assert words in read(unusual).words and words not in page.words


def test_what_is_usual_is_not_said_of_the_unusual_and_a_collapse_is_flagged(unusual):
    assert "Each model was trained once" not in read(unusual).words
    assert 'class="note">The projections' in (unusual / "report/index.html").read_text()
