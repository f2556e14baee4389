"""Pictures and masks from bytes; mapping over threads: order, bounds, errors, end."""

import io
import itertools
import threading

import numpy as np
import pytest
from PIL import Image

from hw1.archive import pictures
from hw1.archive.pictures import PictureError, decode, decode_mask, in_threads

# Black, blue, green, cyan, red, magenta, yellow, white, in the order of the code 4R + 2G + B.
COLOURS = [(255 * (code >> 2), 255 * (code >> 1 & 1), 255 * (code & 1)) for code in range(8)]


def encode(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def strip(*pixels):
    """A PNG one pixel high."""
    return encode(Image.fromarray(np.array([pixels], np.uint8)))


def test_palette_picture_becomes_its_colours():
    palette = Image.fromarray(np.array([[1, 0]], np.uint8)).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    assert np.asarray(decode(encode(palette))).tolist() == [[[40, 50, 60], [10, 20, 30]]]


def test_sixteen_bits_that_would_be_nearly_black_are_refused():
    def of(highest):
        return encode(Image.fromarray((np.arange(64).reshape(8, 8) * highest // 63).astype(np.uint16)))

    assert np.asarray(decode(of(40_000))).max() == 40_000 >> 8
    reason = "16-bit levels of 0 to 3,000 out of 65,535, which would be nearly black; scale them"
    with pytest.raises(PictureError, match=reason):
        decode(of(3_000))


def test_mask_decodes_the_seven_colours_and_channels_are_cut_at_128():
    colours = [colour for code, colour in enumerate(COLOURS) if code != 4]
    mask = decode_mask(strip(*colours))
    # Black unknown, blue water, green forest, cyan urban, magenta rangeland, yellow agriculture, white barren.
    assert mask.tolist() == [[6, 4, 3, 0, 2, 1, 5]]
    assert mask.dtype == np.uint8
    edges = [(127, 127, 127), (128, 128, 128), (127, 128, 128), (128, 127, 255)]  # as a smooth resize leaves them
    assert decode_mask(strip(*edges, *[(0, 0, 255)] * 36))[0, :5].tolist() == [6, 5, 0, 2, 4]


@pytest.mark.parametrize("count", [0, 1, 7, 100])
@pytest.mark.parametrize("chunk", [1, 8])
def test_results_of_other_threads_come_in_order(count, chunk):
    results = list(in_threads(lambda number: (number**2, threading.get_ident()), range(count), chunk))
    assert [square for square, _ in results] == [number**2 for number in range(count)]
    assert threading.get_ident() not in {thread for _, thread in results}


def test_no_more_than_a_bounded_number_of_items_is_taken_ahead(monkeypatch):
    monkeypatch.setattr(pictures, "cores", lambda: 2)
    taken = []
    results = in_threads(lambda item: item, (taken.append(number) or number for number in itertools.count()), 3)
    assert next(results) == 0
    assert len(taken) == 2 * pictures.AHEAD * 3
    results.close()


def test_error_comes_after_the_results_before_it_and_ends():
    def double(number):
        if number == 5:
            raise ValueError("five")
        return 2 * number

    results = in_threads(double, range(10), 1)
    assert list(itertools.islice(results, 5)) == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="five"):
        next(results)
