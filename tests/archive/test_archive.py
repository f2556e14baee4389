"""Members of small zips made here: what is read, and how each fault is named."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from hw1.archive.archive import GIVEN, Archive
from hw1.run.errors import InputError

PICTURE = Image.fromarray(np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3))
# Black, blue, green, cyan, red, magenta, yellow, white, in the order of the code 4R + 2G + B.
COLOURS = [(255 * (code >> 2), 255 * (code >> 1 & 1), 255 * (code & 1)) for code in range(8)]


def encode(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def strip(*pixels):
    """A PNG one pixel high."""
    return encode(Image.fromarray(np.array([pixels], np.uint8)))


@pytest.fixture
def pack(tmp_path):
    """A function of members (name -> bytes): the Archive of a zip that holds them."""

    def pack(members):
        with zipfile.ZipFile(tmp_path / "course.zip", "w") as file:
            for name, content in members.items():
                file.writestr(name, content)
        return Archive(tmp_path / "course.zip")

    return pack


def table(text):
    return {"train.csv": text}


# -- the zip and its members


@pytest.mark.parametrize("top", ["", "hw1_data/"])
def test_members_are_found_with_and_without_the_top_folder(pack, top):
    archive = pack({f"{top}p1_data/train_50/0_1.png": b"", f"{top}pretrain_model_SL.pt": b"weights"})
    assert archive.pictures("p1_data/train_50") == ["p1_data/train_50/0_1.png"]
    assert archive.read("pretrain_model_SL.pt") == b"weights"


def test_files_beside_the_top_folder_are_no_members(pack):
    archive = pack({"hw1_data/a/1.jpg": b"", "pretrain_model_SL.pt": b"", "__MACOSX/hw1_data/a/1.jpg": b""})
    assert "a/1.jpg" in archive
    assert "pretrain_model_SL.pt" not in archive


def test_members_are_sorted_and_lie_directly_in_the_folder(pack):
    names = ["a/10.jpg", "a/9.jpg", "a/B.JPG", "a/deep/1.jpg", "b/1.jpg", "a/notes.txt", "a/._9.jpg"]
    assert pack(dict.fromkeys(names, b"")).pictures("a") == ["a/10.jpg", "a/9.jpg", "a/B.JPG"]


def test_folder_without_files_is_named(pack):
    with pytest.raises(
        InputError, match=r"course\.zip: hw1_data/a: no pictures; the archive must hold them there; it has b$"
    ):
        pack({"hw1_data/a/": b"", "hw1_data/b/1.jpg": b""}).pictures("a")


def test_missing_archive_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.zip: no such archive; run `dvc repro download`"):
        Archive(tmp_path / "none.zip")


def test_zip_cut_in_half_is_refused(pack):
    path = pack({"a.txt": bytes(1000)}).path
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"course\.zip: not a whole zip file"):
        Archive(path)


def test_zip_of_an_unknown_version_is_refused(pack):
    path = pack({"a.txt": b""}).path
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 6] = 99  # version needed, in the directory at the end
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"course\.zip: not a whole zip file"):
        Archive(path)


def test_member_with_flipped_bytes_fails_its_checksum(pack):
    path = pack({"a/1.jpg": bytes(range(200))}).path
    content = bytearray(path.read_bytes())
    content[content.index(bytes(range(100)))] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"course\.zip: a/1\.jpg: cannot be unpacked \(Bad CRC-32"):
        Archive(path).read("a/1.jpg")


def test_missing_member_is_named_with_the_top_folder(pack):
    with pytest.raises(InputError, match=r"hw1_data/b\.txt: missing in the archive"):
        pack({"hw1_data/a.txt": b""}).read("b.txt")


# -- pictures


def test_png_is_read_exactly(pack):
    assert np.array_equal(np.asarray(pack({"x.png": encode(PICTURE)}).image("x.png")), np.asarray(PICTURE))


def test_grey_picture_has_three_equal_channels(pack):
    grey = Image.fromarray(np.array([[0, 90], [180, 255]], np.uint8))
    image = np.asarray(pack({"x.png": encode(grey)}).image("x.png"))
    assert image[..., 0].tolist() == [[0, 90], [180, 255]]
    assert (image == image[..., :1]).all()


def test_alpha_channel_is_dropped(pack):
    image = pack({"x.png": strip((1, 2, 3, 0), (4, 5, 6, 255))}).image("x.png")
    assert np.asarray(image).tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_palette_picture_becomes_its_colours(pack):
    palette = Image.fromarray(np.array([[1, 0]], np.uint8)).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    image = pack({"x.png": encode(palette)}).image("x.png")
    assert np.asarray(image).tolist() == [[[40, 50, 60], [10, 20, 30]]]


def test_image_size_is_width_and_height(pack):
    assert pack({"x.jpg": encode(PICTURE, "JPEG")}).image_size("x.jpg") == (7, 5)


@pytest.mark.parametrize("content", [b"", b"no picture", encode(PICTURE, "GIF")], ids=["empty", "text", "gif"])
def test_member_that_is_no_picture_is_named(pack, content):
    with pytest.raises(InputError, match=r"course\.zip: a/x\.jpg: not a JPEG, PNG, WebP, BMP or TIFF picture"):
        pack({"a/x.jpg": content}).image("a/x.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_picture_cut_anywhere_is_refused(pack, kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    whole = encode(noise, kind)
    # What a PNG or JPEG ends with, checksum or end marker, is not needed to decode it.
    lengths = range(0, len(whole) - 20, 97)
    archive = pack({f"{length}.jpg": whole[:length] for length in lengths})
    for length in lengths:
        with pytest.raises(InputError, match=rf"course\.zip: {length}\.jpg: not a .*picture; replace or remove it"):
            archive.image(f"{length}.jpg")


def test_picture_of_absurd_size_is_refused(pack):
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    with pytest.raises(InputError, match=r"x\.png: 50000 x 50000 pixels, at most 50,000,000 are read"):
        pack({"x.png": start + encode(PICTURE)[33:]}).image("x.png")


# -- masks


def test_mask_decodes_the_seven_colours(pack):
    colours = [colour for code, colour in enumerate(COLOURS) if code != 4]
    mask = pack({"m.png": strip(*colours)}).mask("m.png")
    # Black unknown, blue water, green forest, cyan urban, magenta rangeland, yellow agriculture, white barren.
    assert mask.tolist() == [[6, 4, 3, 0, 2, 1, 5]]
    assert mask.dtype == np.uint8


def test_mask_channels_are_cut_at_128(pack):
    edges = [(127, 127, 127), (128, 128, 128), (127, 128, 128), (128, 127, 255)]  # as a smooth resize leaves them
    mask = pack({"m.png": strip(*edges, *[(0, 0, 255)] * 36)}).mask("m.png")
    assert mask[0, :5].tolist() == [6, 5, 0, 2, 4]


def test_red_pixel_of_a_mask_is_named_with_its_place(pack):
    pixels = np.zeros((3, 4, 3), np.uint8)
    pixels[2, 1] = (200, 100, 0)
    with pytest.raises(InputError, match=r"course\.zip: a/m\.png: red pixel at row 2, column 1"):
        pack({"a/m.png": encode(Image.fromarray(pixels))}).mask("a/m.png")


# -- tables


def test_table_maps_file_names_to_labels(pack):
    archive = pack(table("id,filename,label\n0,b.jpg,12\n1,a.jpg,0\n"))
    assert [(row.filename, row.label) for row in archive.table("train.csv").rows] == [("b.jpg", "12"), ("a.jpg", "0")]


def test_table_may_have_a_byte_order_mark_and_windows_line_ends(pack):
    archive = pack(table(b"\xef\xbb\xbfid,filename,label\r\n0,a.jpg,3\r\n"))
    assert [(row.filename, row.label) for row in archive.table("train.csv").rows] == [("a.jpg", "3")]


@pytest.mark.parametrize("text", ["", "0,a.jpg,1\n", "id,title,class\n0,a.jpg,1\n"])
def test_table_without_its_header_is_refused(pack, text):
    with pytest.raises(
        InputError, match=r"train\.csv: its first line is '.*', but it must be a header with filename and label"
    ):
        pack(table(text)).table("train.csv")


@pytest.mark.parametrize("line", ["0,a.jpg,1", "1,,1", "1"])
def test_file_name_that_is_absent_or_stands_twice_is_refused(pack, line):
    with pytest.raises(InputError, match=r"train\.csv: line 3: file name .* is empty or stands twice"):
        pack(table(f"id,filename,label\n0,a.jpg,1\n{line}\n")).table("train.csv")


def test_table_in_another_encoding_is_refused(pack):
    with pytest.raises(InputError, match=r"train\.csv: not UTF-8 text"):
        pack(table("id,filename,label\n0,é.jpg,1\n".encode("latin-1"))).table("train.csv")


def test_table_with_an_open_quote_is_refused(pack):
    with pytest.raises(InputError, match=r"train\.csv: not a csv table"):
        pack(table('id,filename,label\n0,"' + "a.jpg,1\n" * 20_000)).table("train.csv")


@pytest.mark.parametrize(
    "content", ['{"data": "mine"}', '{"data": ["synthetic"]}', "[]", "null", "not json", "[" * 100_000, b"\xff\xfe", ""]
)
def test_origin_of_the_users_own_making_counts_as_given(tmp_path, content):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("hw1_data/origin.json", content)
    assert Archive(path).origin == GIVEN
