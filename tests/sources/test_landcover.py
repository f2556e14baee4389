"""Drawn land-cover tiles: their classes, colours and regions."""

import numpy as np
import pytest

from hw1.sources import landcover


def test_tiles_hold_large_regions_of_few_classes_none_of_which_dominates_and_unknown_is_rare():
    tiles = [landcover.draw_tile(48, rng)[1] for rng in np.random.default_rng(0).spawn(150)]
    assert np.mean([2 <= len(np.unique(codes)) <= 4 for codes in tiles]) > 0.8
    same = np.mean([np.mean(codes[:, 1:] == codes[:, :-1]) for codes in tiles])
    assert same > 0.93  # of neighbours; one border across a tile of 48 px costs 1/48
    share = np.bincount(np.stack(tiles).ravel(), minlength=7) / np.stack(tiles).size
    assert share[:6].max() < 0.4 and share[:6].min() > 0.08
    assert 0 < share[6] < 0.03


def test_unknown_pixels_are_black_in_the_picture():
    for rng in np.random.default_rng(2).spawn(60):
        picture, codes = landcover.draw_tile(32, rng)
        inside = codes == landcover.UNKNOWN
        if inside.sum() > 20:
            assert np.median(picture[inside]) < 12
            return
    pytest.fail("no tile of sixty has a black edge")


@pytest.mark.parametrize("size", [8, 33])
def test_tile_comes_in_the_asked_size(size):
    for rng in np.random.default_rng(3).spawn(20):
        picture, codes = landcover.draw_tile(size, rng)
        assert (picture.shape, picture.dtype) == ((size, size, 3), np.uint8)
        assert (codes.shape, codes.dtype) == ((size, size), np.uint8)
