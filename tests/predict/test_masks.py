"""Masks of tiles: their size and colours, what is scored and what is refused; windows, whose edges do not show."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cards import saved
from PIL import Image

from hw1.archive.pictures import decode_mask
from hw1.data.classes import MASK_COLOURS
from hw1.engine.metrics import count_confusion
from hw1.images.input import normalise
from hw1.predict.masks import flaw_of, predict_masks, starts, tiles_in, windowed_map
from hw1.predict.model import Predictor
from hw1.run.errors import InputError

ALL_UNKNOWN = "every pixel of every mask is unknown (black), one class alone"
SIZES = [(32, 32), (40, 64), (33, 47), (96, 96), (8, 90)]  # height, width


@pytest.fixture
def network(tmp_path):
    return saved("segment@A", tmp_path / "A.safetensors")


@pytest.fixture
def predictor(network, tmp_path):
    return Predictor.load(tmp_path / "A.safetensors", "segment", "cpu", batch_size=2)


@pytest.fixture
def tiles(tmp_path):
    (tmp_path / "tiles").mkdir()
    for number, (height, width) in enumerate(SIZES):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"tiles/{number:04d}_sat.jpg")
    return tmp_path / "tiles"


@pytest.fixture
def predict(predictor, tiles, tmp_path):
    """A function that predicts the tiles: what was done."""
    return lambda: predict_masks(predictor, tiles_in(tiles)[0], tmp_path / "masks")


def expected(network, path, shape):
    square = np.asarray(Image.open(path).resize((32, 32), Image.Resampling.BILINEAR))
    with torch.no_grad():
        scores = network(normalise(torch.from_numpy(square.copy()).permute(2, 0, 1)[None]))
        return torch.nn.functional.interpolate(scores, shape, mode="bilinear", align_corners=False)[0].argmax(0)


def test_every_tile_gets_a_mask_of_its_own_size_in_the_seven_colours(predict, network, tiles, tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/notes.txt").write_text("mine")
    done = predict()
    assert (done.images, done.faults, done.scored) == (5, 0, 0)
    for number, shape in enumerate(SIZES):
        mask = Image.open(tmp_path / f"masks/{number:04d}_mask.png")
        assert mask.mode == "RGB" and (mask.height, mask.width) == shape
        wanted = MASK_COLOURS[expected(network, tiles / f"{number:04d}_sat.jpg", shape).numpy()]
        assert (np.asarray(mask) == wanted).mean() > 0.999  # rounding may tip a pixel
    assert len(list((tmp_path / "masks").iterdir())) == 6
    assert (tmp_path / "masks/notes.txt").read_text() == "mine"  # what lay there stays


def test_true_masks_beside_the_tiles_are_scored(predict, tiles, tmp_path):
    draw = np.random.default_rng(0)
    truth = {number: draw.integers(0, 7, SIZES[number], np.uint8) for number in (0, 2)}
    for number, classes in truth.items():
        Image.fromarray(MASK_COLOURS[classes]).save(tiles / f"{number:04d}_mask.png")
    done = predict()
    counts = torch.zeros(7, 7, dtype=torch.int64)
    for number, classes in truth.items():
        mask = torch.from_numpy(decode_mask((tmp_path / f"masks/{number:04d}_mask.png").read_bytes()))
        counts += count_confusion(torch.from_numpy(classes), mask, 7)
    assert done.scored == 2 and torch.equal(done.confusion, counts)


@pytest.mark.parametrize(
    "size, colour, reason", [(9, 0, "9 x 9 pixels, its tile has 32 x 32"), (32, (255, 0, 0), "red pixel at row 0")]
)
def test_unreadable_tile_and_true_mask_are_named_and_the_rest_is_done(
    size, colour, reason, predict, tiles, tmp_path, capsys
):
    Image.new("RGB", (size, size), colour).save(tiles / "0000_mask.png")
    (tiles / "0001_sat.jpg").write_bytes(b"no picture")
    done = predict()
    assert (done.images, done.faults, done.scored, done.unscored) == (5, 1, 0, 1)
    told = capsys.readouterr().err
    assert f"0000_mask.png: {reason}" in told
    assert "0001_sat.jpg: not a JPEG, PNG, WebP, BMP or TIFF picture" in told
    assert sorted(path.name[:4] for path in (tmp_path / "masks").iterdir()) == ["0000", "0002", "0003", "0004"]


@pytest.mark.parametrize("name, kind", [("0001_sat.jpeg", "JPEG"), ("0001_SAT.PNG", "PNG"), ("0001-sat.webp", "WEBP")])
def test_tile_and_true_mask_of_another_spelling_are_taken(name, kind, predictor, tiles, tmp_path):
    Image.open(tiles / "0001_sat.jpg").save(tmp_path / "other", kind)
    (tiles / "0001_sat.jpg").unlink()
    (tmp_path / "other").rename(tiles / name)
    Image.fromarray(MASK_COLOURS[np.arange(32 * 32).reshape(32, 32) % 7]).save(tiles / "0000_MASK.TIF")
    found, reading = tiles_in(tiles)
    done = predict_masks(predictor, found, tmp_path / "masks")
    assert (done.images, done.faults, done.scored) == (5, 0, 1) and (tmp_path / "masks/0001_mask.png").exists()
    assert reading.line == "read 5 tiles, 1 true masks; nothing left out"


def test_what_is_neither_tile_nor_mask_is_named(tiles):
    Image.new("RGB", (4, 4)).save(tiles / "view.png")
    Image.new("RGB", (4, 4)).save(tiles / "9999_mask.png")
    (tiles / "readme.md").write_text("")
    _, reading = tiles_in(tiles)
    assert reading.left_out == {
        "view.png": "neither a tile {id}_sat nor a mask {id}_mask",
        "9999_mask.png": "a mask without its tile",
        "readme.md": "no JPEG, PNG, WebP, BMP or TIFF picture",
    }


def test_folder_without_tiles_and_two_files_of_one_tile_are_named(tiles, tmp_path):
    (tmp_path / "others").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "others/a.png")
    with pytest.raises(InputError, match=r"others: no tiles like 0001_sat\.jpg; it has pictures such as a\.png"):
        tiles_in(tmp_path / "others")
    Image.new("RGB", (4, 4)).save(tiles / "0001_sat.png")
    with pytest.raises(InputError, match=r"0001_sat\.png and 0001_sat\.jpg are of one tile; remove one"):
        tiles_in(tiles)


def test_true_masks_of_one_class_are_flawed(predict, tiles):
    for number in (0, 2):
        Image.fromarray(np.zeros((*SIZES[number], 3), np.uint8)).save(tiles / f"{number:04d}_mask.png")
    done = predict()
    assert done.scored == 2 and flaw_of(done.confusion) == ALL_UNKNOWN


SIDE = 8


def predictor_of(scores):
    """A predictor of windows of 8 px; ``scores`` makes (7, 8, 8) of (8, 8, 3) uint8."""

    def logits(windows):
        assert all(window.shape == (SIDE, SIDE, 3) for window in windows) and len(windows) <= 3
        return torch.stack([scores(torch.from_numpy(window.copy())) for window in windows])

    return SimpleNamespace(card=SimpleNamespace(crop=SIDE), batch_size=3, logits=logits)


def by_pixel(window):
    """Each pixel's class is its red level."""
    return 5.0 * torch.nn.functional.one_hot(window[..., 0].long(), 7).permute(2, 0, 1)


def wrong_at_the_edge(window):
    """Class 0 inside; at the window's edge class 1, and surer of it."""
    scores = torch.zeros(7, SIDE, SIDE)
    scores[0], scores[1] = 2, 5
    scores[1, 1:-1, 1:-1] = 0
    return scores


@pytest.mark.parametrize(
    "length, expected", [(8, [0]), (9, [0, 1]), (16, [0, 4, 8]), (17, [0, 4, 8, 9]), (20, [0, 4, 8, 12])]
)
def test_windows_lie_half_a_side_apart_and_end_where_the_tile_does(length, expected):
    assert starts(length, SIDE) == expected


@pytest.mark.parametrize("shape", [(8, 8), (9, 30), (30, 9), (21, 34), (3, 5), (5, 20)])
def test_every_pixel_gets_its_class_at_its_own_place(shape):
    pixels = np.random.default_rng(1).integers(0, 7, (*shape, 3), np.uint8)
    mask = windowed_map(predictor_of(by_pixel), pixels)
    assert mask.dtype == torch.uint8 and np.array_equal(mask.numpy(), pixels[..., 0])


def test_edges_of_windows_do_not_show_within_the_tile():
    mask = windowed_map(predictor_of(wrong_at_the_edge), np.zeros((40, 56, 3), np.uint8))
    assert not mask[1:-1, 1:-1].any()


def test_tiles_are_predicted_in_windows_where_asked(predictor, tmp_path):
    (tmp_path / "tiles").mkdir()
    pixels = np.random.default_rng(2).integers(0, 256, (40, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "tiles/1_sat.png")
    predict_masks(predictor, tiles_in(tmp_path / "tiles")[0], tmp_path / "out", window=True)
    drawn = np.asarray(Image.open(tmp_path / "out/1_mask.png"))
    assert np.array_equal(drawn, MASK_COLOURS[windowed_map(predictor, pixels).numpy()]) and drawn.shape == (40, 70, 3)
