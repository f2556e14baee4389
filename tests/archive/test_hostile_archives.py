"""Damaged, odd and hostile archives: each is prepared rightly or refused in one line that names its fault.

Every case prepares the parts of one small archive. It passes if nothing but an InputError of one line
came out of it, within seconds, without much memory, and without a file where none belongs.
"""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from limits import limits
from PIL import Image, ImageCms
from small_course import SIZES, course_members, encode, noise, pack

from hw1.archive.archive import MAX_MEMBER, Archive
from hw1.archive.parts import PARTS, prepare
from hw1.data.arrays import Manifest, load_array
from hw1.run.errors import InputError
from hw1.run.files import whole_folder

SECONDS = 10  # a case may take
MEMORY = 600 << 20  # bytes a case may add to the most this process ever held
WHOLE = course_members()
PICTURES = {"p1": "p1_data/train_50/0_2.png", "mini": "p2_data/mini/train/b.jpg", "p3": "p3_data/train/1_mask.png"}
TABLE = "p2_data/office/train.csv"


@pytest.fixture(autouse=True)
def bounded():
    with limits(SECONDS, MEMORY):
        yield


def faults(tmp_path, archive):
    """Part -> the fault its preparation ended with, of those that did not succeed."""
    found = {}
    for part in PARTS:
        out = tmp_path / part
        try:
            with whole_folder(out) as draft:
                prepare(part, Archive(archive), SIZES, draft)
        except InputError as error:
            found[part] = str(error)
            assert not out.exists()
            assert str(error).startswith(f"{archive}: ")
            assert str(error).isprintable()
        else:
            manifest = Manifest.load(out)
            assert load_array(out, "train_images").shape[0] == len(manifest.train) > 0
    assert {path.name for path in tmp_path.iterdir()} == {archive.name, *(PARTS.keys() - found.keys())}
    return found


def faults_of(tmp_path, changes):
    """The faults of the whole archive with the members of ``changes`` put in their place."""
    return faults(tmp_path, pack(WHOLE | changes, tmp_path / "course.zip"))


def changed(data, draw, places):
    data = bytearray(data)
    for place in places:
        data[place] = draw.integers(256)
    return bytes(data)


# -- bytes changed at random


@pytest.mark.parametrize("share", [index / 40 for index in range(40)])
def test_truncated_archive(tmp_path, share):
    path = pack(WHOLE, tmp_path / "course.zip")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    found = faults(tmp_path, path)
    assert found.keys() == PARTS.keys()
    assert all("not a whole zip file" in fault for fault in found.values())


@pytest.mark.parametrize("seed", range(100))
def test_archive_with_bytes_changed(tmp_path, seed):
    path = pack(WHOLE, tmp_path / "course.zip")
    data, draw = path.read_bytes(), np.random.default_rng(seed)
    tail = seed % 2 * int(len(data) * 0.75)  # every second case hits the table of contents at the end
    path.write_bytes(changed(data, draw, draw.integers(tail, len(data), 1 + seed % 7)))
    faults(tmp_path, path)


@pytest.mark.parametrize("part", PICTURES)
@pytest.mark.parametrize("cut", [1, 13, 40, 0.3, 0.5, 0.9, 0.99, 1.0])
def test_truncated_picture_is_named_unless_all_its_pixels_are_there(tmp_path, part, cut):
    whole = WHOLE[PICTURES[part]]
    rest = whole[: len(whole) - (cut if cut.__class__ is int else int(cut * len(whole)))]
    found = faults_of(tmp_path, {PICTURES[part]: rest})
    if found:
        assert found.keys() == {part} and PICTURES[part] in found[part]
    else:
        assert whole.startswith(b"\x89PNG") and b"IDAT" in rest and len(whole) - len(rest) <= 13  # IEND alone is gone
        name = "train_masks" if part == "p3" else "train_images"
        stored = load_array(tmp_path / part, name)
        faults_of(tmp_path, {})
        assert (stored == load_array(tmp_path / part, name)).all()


@pytest.mark.parametrize("part", PICTURES)
@pytest.mark.parametrize("seed", range(20))
def test_picture_with_bytes_changed_is_read_or_named(tmp_path, part, seed):
    data, draw = WHOLE[PICTURES[part]], np.random.default_rng(seed)
    spoilt = changed(data, draw, draw.integers(0, len(data), 1 + seed % 5))
    found = faults_of(tmp_path, {PICTURES[part]: spoilt})
    assert found.keys() <= {part}
    assert all(PICTURES[part] in fault for fault in found.values())


# -- pictures that are not plain RGB ones


def picture_of(mode, kind, **options):
    return encode_image(Image.fromarray(noise(5, 8, 8)).convert(mode), kind, **options)


def encode_image(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rotated(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode_image(Image.fromarray(noise(5, 8, 8)), "PNG", exif=exif)


CONVERTED = {
    **{mode: picture_of(mode, "PNG") for mode in ("L", "LA", "RGBA", "P", "1")},
    **{kind: picture_of("RGB", kind) for kind in ("BMP", "TIFF")},
    **{f"{mode} JPEG": picture_of(mode, "JPEG") for mode in ("CMYK", "L")},
    "WebP": picture_of("RGB", "WEBP", lossless=True),
    "palette and transparency": picture_of("P", "PNG", transparency=0),
    "progressive JPEG": picture_of("RGB", "JPEG", progressive=True),
    "16-bit": encode_image(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024), "PNG"),
    "one pixel": encode(noise(5, 1, 1), "PNG"),
    "very wide": encode(noise(5, 1, 3000), "PNG"),
    "greyscale TIFF of 16 bits": encode_image(Image.fromarray(np.full((8, 8), 40_000, np.uint16)), "TIFF"),
    "two pictures of a telephone": encode_image(
        Image.fromarray(noise(5, 8, 8)), "MPO", save_all=True, append_images=[Image.fromarray(noise(6, 8, 8))]
    ),
    "colour profile": picture_of(
        "RGB", "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    ),
    **{f"EXIF orientation {value}": rotated(value) for value in range(1, 9)},
}


@pytest.mark.parametrize("name", CONVERTED)
def test_odd_picture_is_converted(tmp_path, name):
    assert faults_of(tmp_path, {PICTURES["p1"]: CONVERTED[name]}) == {}
    stored = load_array(tmp_path / "p1", "train_images")[0]
    assert stored.shape == (8, 8, 3)
    if name in ("RGBA", "WebP", "BMP", "TIFF") or "EXIF" in name:  # dropped, and left aside
        assert (stored == noise(5, 8, 8)).all()
    if name == "16-bit":
        assert (stored == (np.arange(64).reshape(8, 8, 1) * 1024 >> 8)).all()
    if name in ("L", "LA"):
        assert (stored == np.asarray(Image.fromarray(noise(5, 8, 8)).convert("L"))[..., None]).all()


def png_of(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return start + encode(noise(5, 8, 8), "PNG")[33:]


def frames(kind):
    pictures = [Image.fromarray(noise(seed, 8, 8)) for seed in range(3)]
    return encode_image(pictures[0], kind, save_all=True, append_images=pictures[1:])


LONG = 2**31 - 1
REFUSED = {
    "nothing": b"",
    "text": b"not a picture\n",
    "zeros": bytes(1000),
    "GIF": picture_of("P", "GIF"),
    "floating point": encode_image(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"),
    "32 bits": encode_image(Image.fromarray(np.full((8, 8), 1 << 20, np.int32)), "TIFF"),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>',
    "zip": zlib.compress(b"x"),
    **{f"several pictures in one {kind}": frames(kind) for kind in ("PNG", "WEBP", "TIFF")},
    **{f"{side} x {other}": png_of(side, other) for side, other in ((0, 0), (10_000, 10_000), (LONG, 1), (LONG, LONG))},
}


@pytest.mark.parametrize("part", ["p1", "p3"])
@pytest.mark.parametrize("name", REFUSED)
def test_no_picture_is_named(tmp_path, part, name):
    found = faults_of(tmp_path, {PICTURES[part]: REFUSED[name]})
    assert found.keys() == {part}
    assert PICTURES[part] in found[part]


# -- members


@pytest.mark.parametrize(
    "name",
    [
        *("../escape.png", "p1_data/train_50/../../../escape.png", "p1_data\\train_50\\..\\..\\..\\escape.png"),
        *("/tmp/hw1_escape.png", "C:\\escape.png", "p1_data/train_50/deeper/0_7.png", "p1_data/train_50/.0_7.png"),
        "p1_data/train_50/\u202egnp.0_7",
    ],
)
def test_member_of_no_place_in_the_layout_is_left_aside(tmp_path, name):
    assert faults_of(tmp_path, {name: b"what lies there is never read"}) == {}
    assert len(Manifest.load(tmp_path / "p1").train) == 3


@pytest.mark.parametrize("label", ["x_1", "-1_1", "_1", "1.5_1", "٣_1", "²_1", "9" * 30 + "_1", "999999999_1", "0x1_1"])
def test_picture_whose_name_gives_no_class_is_named(tmp_path, label):
    member = f"p1_data/train_50/{label}.png"
    found = faults_of(tmp_path, {member: WHOLE[PICTURES["p1"]]})
    assert found.keys() == {"p1"}
    assert label in found["p1"]


@pytest.mark.parametrize("name", ["0_\n7", "0_\x1b[31m", "0_\u2028"])
def test_unprintable_name_is_escaped(tmp_path, name):
    found = faults_of(tmp_path, {f"p1_data/train_50/{name}.png": b"no picture"})
    assert found.keys() == {"p1"}
    assert "0_\\" in found["p1"]


@pytest.mark.parametrize("ending, faulty", [(b"\0", set()), (b"\xff", PARTS.keys())])
def test_name_ends_at_a_zero_byte_and_one_that_is_no_utf8_is_refused(ending, faulty, tmp_path):
    path = pack(WHOLE | {"p1_data/train_50/1_77.pngé.exe": WHOLE[PICTURES["p1"]]}, tmp_path / "course.zip")
    path.write_bytes(path.read_bytes().replace("é".encode(), ending * 2))
    found = faults(tmp_path, path)
    assert found.keys() == faulty and all("not a whole zip file" in fault for fault in found.values())
    assert faulty or "1_77.png" in Manifest.load(tmp_path / "p1").train


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("part", "member"), [*PICTURES.items(), ("office", TABLE)])
def test_member_that_stands_twice_is_named(tmp_path, part, member):
    path = pack(WHOLE, tmp_path / "course.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(f"hw1_data/{member}", WHOLE[member])
    found = faults(tmp_path, path)
    assert found.keys() == {part}
    assert f"{member}: stands twice" in found[part]


def test_symbolic_link_is_not_followed(tmp_path):
    path = pack({name: data for name, data in WHOLE.items() if name != PICTURES["p1"]}, tmp_path / "course.zip")
    entry = zipfile.ZipInfo(f"hw1_data/{PICTURES['p1']}")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(entry, "/etc/passwd")
    found = faults(tmp_path, path)
    assert f"{PICTURES['p1']}: not a JPEG, PNG, WebP, BMP or TIFF picture" in found["p1"]


# -- compression


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("seed", [None, *range(10)])
def test_every_compression_is_read_unless_bytes_changed(tmp_path, method, seed):
    path = tmp_path / "course.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in WHOLE.items():
            file.writestr(f"hw1_data/{name}", data)
    if seed is None:
        assert faults(tmp_path, path) == {}
    else:
        data, draw = path.read_bytes(), np.random.default_rng(seed)
        path.write_bytes(changed(data, draw, draw.integers(0, int(0.7 * len(data)), 20)))
        faults(tmp_path, path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_decompression_bomb_is_refused_unread(tmp_path, method):
    path = pack({name: data for name, data in WHOLE.items() if name != PICTURES["p1"]}, tmp_path / "course.zip")
    with zipfile.ZipFile(path, "a", method) as file, file.open(f"hw1_data/{PICTURES['p1']}", "w") as bomb:
        for _ in range(MAX_MEMBER // (1 << 20) + 1):
            bomb.write(bytes(1 << 20))
    found = faults(tmp_path, path)
    assert f"{PICTURES['p1']}: unpacks to" in found["p1"]


def test_weights_beyond_the_bound_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("hw1.archive.archive.MAX_WEIGHTS", 3)
    found = faults_of(tmp_path, {"pretrain_model_SL.pt": b"four"})
    assert found.keys() == {"mini"}
    assert "pretrain_model_SL.pt: unpacks to 4 bytes, at most 3 are read" in found["mini"]


@pytest.mark.parametrize(
    "place, value, reason",
    [
        (10, struct.pack("<H", 77), "is packed by method 77, which is not read"),
        (8, b"\1", "is encrypted; pack the archive"),
        (24, struct.pack("<I", 100), PICTURES["p1"]),  # the size
    ],
)
def test_table_of_contents_that_lies_is_named(tmp_path, place, value, reason):
    path = pack(WHOLE, tmp_path / "course.zip")
    data = bytearray(path.read_bytes())
    entry = data.rindex(PICTURES["p1"].encode()) - len("hw1_data/") - 46
    assert data[entry : entry + 4] == b"PK\x01\x02"
    data[entry + place : entry + place + len(value)] = value
    path.write_bytes(data)
    found = faults(tmp_path, path)
    assert PICTURES["p1"] in found["p1"] and reason in found["p1"]


# -- tables

ROWS = "0,t0.jpg,1\n1,t1.jpg,2\n2,t2.jpg,0\n"
NAMED = {
    "nothing": "",
    "header alone": "id,filename,label\n",
    "no labels": "id,filename\n0,t0.jpg\n",
    "an open quote": 'id,filename,label\n0,"t0.jpg,1\n1,t1.jpg,2\n',
    "a line too short": "id,filename,label\n0,t0.jpg\n1,t1.jpg,2\n2,t2.jpg,0\n",
    "an empty name": "id,filename,label\n0,,1\n" + ROWS,
    "a name twice": "id,filename,label\n" + ROWS + "3,t0.jpg,1\n",
    "a name of no image": "id,filename,label\n" + ROWS + "3,t9.jpg,1\n",
    "a name above the folder": "id,filename,label\n" + ROWS + "3,../../../etc/passwd,1\n",
    "an image of no line": "id,filename,label\n0,t0.jpg,1\n1,t1.jpg,0\n",
    "two spellings of one name": "id,filename,label\n0,t0.jpg,1\n1,t1.jpg,2\n2,t2.jpg,0\n3,T0.JPG,1\n",
    "a label of 5000 digits": f"id,filename,label\n0,t0.jpg,{'9' * 5000}\n1,t1.jpg,2\n2,t2.jpg,0\n",
    "a label out of range": "id,filename,label\n0,t0.jpg,7\n1,t1.jpg,2\n2,t2.jpg,0\n",
    "a field of a megabyte": f"id,filename,label\n0,{'t' * 2**20},1\n",
    "a zero byte": "id,filename,label\n0,t0\0.jpg,1\n1,t1.jpg,2\n2,t2.jpg,0\n",
    "a line break in a name": 'id,filename,label\n0,"t0\n.jpg",1\n1,t1.jpg,2\n2,t2.jpg,0\n',
    "a picture": WHOLE[PICTURES["p1"]],
}


@pytest.mark.parametrize("name", NAMED)
def test_fault_of_a_table_is_named(tmp_path, name):
    found = faults_of(tmp_path, {TABLE: NAMED[name]})
    assert found.keys() == {"office"}
    assert "p2_data/office/train" in found["office"]
