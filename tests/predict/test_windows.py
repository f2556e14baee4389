"""Masks by overlapping windows: places, sizes, and that no window's edge shows."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cards import saved
from PIL import Image

from hw1.data.classes import MASK_COLOURS
from hw1.predict.masks import predict_masks, tiles_in
from hw1.predict.model import Predictor
from hw1.predict.windows import starts, windowed_map

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
    scores[0] = 2
    edge = torch.ones(SIDE, SIDE, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    scores[1][edge] = 5
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


def test_tiles_are_predicted_in_windows_where_asked(tmp_path):
    saved("segment@A", tmp_path / "A.safetensors")
    predictor = Predictor.load(tmp_path / "A.safetensors", "segment", "cpu", batch_size=2)
    (tmp_path / "tiles").mkdir()
    pixels = np.random.default_rng(2).integers(0, 256, (40, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "tiles/1_sat.png")
    tiles, _ = tiles_in(tmp_path / "tiles")
    predict_masks(predictor, tiles, tmp_path / "out", window=True)
    drawn = np.asarray(Image.open(tmp_path / "out/1_mask.png"))
    assert np.array_equal(drawn, MASK_COLOURS[windowed_map(predictor, pixels).numpy()]) and drawn.shape == (40, 70, 3)
