"""What people's archives look like: each spelling of one course gives the same arrays, or a line that says why not."""

import csv
import io
import json
import re
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_course import SIZES, course_members, encode, noise, table

from hw1.archive.archive import Archive, Reading
from hw1.archive.parts import PARTS, prepare
from hw1.archive.spelling import Row, TableError, class_number, matched, pairs, plain, read_table, roots
from hw1.data.arrays import load_array
from hw1.run.errors import InputError

WHOLE = {**course_members(), "p2_data/mini/train.csv": table({"a.jpg": 0, "b.jpg": 1, "c.jpg": 0})}
ARRAYS = {
    "p1": ("train_images", "train_labels", "validation_images", "validation_labels"),
    "mini": ("train_images", "train_labels"),
    "office": ("train_images", "train_labels", "validation_images", "validation_labels"),
    "p3": ("train_images", "train_masks", "validation_images", "validation_masks"),
}


def zip_of(members, path, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename, info.compress_type = name, compression  # ZipInfo itself would turn nothing on Linux
            file.writestr(info, content)
    return path


def prepared(archive, out):
    """Arrays and readings of every part of an archive."""
    arrays, readings = {}, {}
    for part in PARTS:
        (out / part).mkdir(parents=True)
        readings[part] = prepare(part, archive, SIZES, out / part)
        arrays |= {(part, name): np.array(load_array(out / part, name)) for name in ARRAYS[part]}
    return arrays, readings


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return read_course(WHOLE, tmp_path_factory.mktemp("expected"))[0]


def read_course(members, folder):
    """Arrays and readings of an archive with these members in its top folder."""
    return prepared(Archive(zip_of({f"hw1_data/{n}": c for n, c in members.items()}, folder / "a.zip")), folder / "out")


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert np.array_equal(found[key], array), key


@pytest.mark.parametrize(
    "top",
    [
        *("", "hw1-data-main/", "data/hw1_data/", "hw1_data/hw1_data/", "./hw1_data/", "/home/someone/hw1_data/"),
        *("C:\\Users\\me\\hw1_data\\", "hw1_data\\", "作業一/"),
    ],
)
def test_top_folder_is_found_wherever_it_is(top, expected, tmp_path):
    separator = "\\" if "\\" in top else "/"
    members = {f"{top}{name.replace('/', separator)}": content for name, content in WHOLE.items()}
    found, readings = prepared(Archive(zip_of(members, tmp_path / "a.zip")), tmp_path / "out")
    assert_same(found, expected)
    assert all(reading.left_out == {} for reading in readings.values())


def test_two_places_of_the_layout_are_named(tmp_path):
    members = {f"{top}/{name}": content for top in ("old", "new") for name, content in WHOLE.items()}
    reason = r"p1_data, p2_data or p3_data lie in 2 folders \(old, new\); leave those of one"
    with pytest.raises(InputError, match=reason):
        Archive(zip_of(members, tmp_path / "a.zip"))


def test_files_of_systems_and_beside_the_courses_folders_are_told(expected, tmp_path):
    others = {"p1_data/train_50/.DS_Store": b"x", "read.me": b"", "../x": b"", "more/b": b"", "origin.json": b""}
    members = {f"hw1_data/{name}": content for name, content in (WHOLE | others).items()}
    members["__MACOSX/hw1_data/p1_data/train_50/._0_2.png"] = b"x"
    archive = Archive(zip_of(members, tmp_path / "a.zip"))
    found, readings = prepared(archive, tmp_path / "out")
    assert_same(found, expected)
    assert readings["p1"].line.endswith("left out 1 (hidden, or a system's own): p1_data/train_50/.DS_Store")
    macos = "__MACOSX/hw1_data/p1_data/train_50/._0_2.png"
    assert archive.outside == [macos, "hw1_data/../x", "hw1_data/more/b", "hw1_data/read.me"]


def test_folders_that_differ_in_case_alone_are_named(tmp_path):
    archive = Archive(zip_of({f"p1_data/{name}/0_1.png": b"" for name in ("Train_50", "train_50")}, tmp_path / "a.zip"))
    reason = "p1_data/Train_50 and p1_data/train_50, which differ in case alone; join them"
    with pytest.raises(InputError, match=reason):
        archive.pictures("p1_data/train_50")


def test_names_in_utf8_without_its_flag_are_read(tmp_path):
    path = zip_of({"p1_data/train_50/0_é.png": encode(noise(0, 8, 8), "PNG")}, tmp_path / "a.zip")
    data = path.read_bytes()
    for place in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data = data[: place + 1] + b"\x00" + data[place + 2 :]
    path.write_bytes(data)
    assert Archive(path).pictures("p1_data/train_50") == ["p1_data/train_50/0_é.png"]


def test_more_than_65535_members_are_read(expected, tmp_path):
    found, readings = read_course(WHOLE | {f"p1_data/notes/{index}.txt": b"" for index in range(65_536)}, tmp_path)
    assert_same(found, expected)
    assert len(readings["p1"].left_out) == 65_536
    assert "left out 65,536 (not where the layout has files): p1_data/notes/0.txt, " in readings["p1"].line
    assert "65,531 more" in readings["p1"].line


def as_kind(name, kind):
    """A member's picture in another format: of the same pixels, if that one keeps them."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(WHOLE[name])).save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind, ending",
    [("PNG", ".PNG"), ("WEBP", ".webp"), ("BMP", ".bmp"), ("TIFF", ".tif"), ("PNG", ".jpg"), ("PNG", "")],
)
def test_pictures_are_taken_by_their_content(kind, ending, expected, tmp_path):
    """All of office and of P1's training in another format, under any ending; the tables keep the old names."""
    members = {}
    for name, content in WHOLE.items():
        if name.startswith(("p1_data/train_50", "p2_data/office/train/", "p2_data/office/val/")):
            name, content = f"{name.rpartition('.')[0]}{ending}", as_kind(name, kind)
        members[name] = content
    found, readings = read_course(members, tmp_path)
    assert_same(found, expected)
    assert all(reading.left_out == {} for reading in readings.values())
    if ending != ".jpg":
        assert "train.csv spells 3 names otherwise: t0.jpg for t0" in readings["office"].line


def test_mixed_endings_and_cases_of_files_folders_and_tables_are_read(expected, tmp_path):
    members = dict(WHOLE)
    for old, new, kind in (
        ("p2_data/mini/train/a.jpg", "p2_data/mini/train/a.png", "PNG"),
        ("p2_data/mini/train/b.jpg", "p2_data/mini/train/b.JPEG", None),
        ("p3_data/train/0_sat.jpg", "p3_data/train/0_SAT.webp", "WEBP"),
        ("p3_data/train/0_mask.png", "p3_data/train/0-Mask.tiff", "TIFF"),
    ):
        members[new] = as_kind(old, kind) if kind else WHOLE[old]
        del members[old]
    spelt = {name.replace("train", "Train").replace(".csv", ".CSV"): content for name, content in members.items()}
    assert_same(read_course(spelt, tmp_path)[0], expected)


def test_what_is_no_picture_is_left_out_and_named(tmp_path):
    more = dict.fromkeys(
        ("p1_data/train_50/notes.txt", "p1_data/train_50/old/0_3.png", "p3_data/train/extra.png"), b"x"
    )
    _, readings = read_course(WHOLE | more, tmp_path)
    assert readings["p1"].line == (
        "read 3 pictures to train on, 2 pictures to validate on; "
        "left out 1 (no JPEG, PNG, WebP, BMP or TIFF picture): p1_data/train_50/notes.txt; "
        "left out 1 (not where the layout has files): p1_data/train_50/old/0_3.png"
    )
    assert readings["p3"].left_out == {"p3_data/train/extra.png": "neither a tile {id}_sat nor a mask {id}_mask"}
    assert readings["mini"].left_out == readings["office"].left_out == {}


def test_record_of_a_reading_gives_counts_and_words(tmp_path):
    reading = Reading({"tiles": 2}, {f"{index}.txt": "no picture" for index in range(9)}, ["a note"])
    reading.save(tmp_path / "r.json")
    notes = ["a note", "left out 9 (no picture): 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more"]
    assert json.loads((tmp_path / "r.json").read_text()) == {"read": {"tiles": 2}, "left_out": 9, "notes": notes}


def test_backbone_is_found_wherever_it_lies_and_two_are_refused(tmp_path):
    one = {"hw1_data/p2_data/Pretrain_Model_SL.pt": b"w", "hw1_data/p1_data/a": b""}
    assert Archive(zip_of(one, tmp_path / "a")).weights == "p2_data/Pretrain_Model_SL.pt"
    two = {"hw1_data/p2_data/pretrain_model_SL.pt": b"w", "hw1_data/pretrain_model_SL.pt": b"v"}
    with pytest.raises(InputError, match="two supervised backbones; leave one of them"):
        _ = Archive(zip_of(two, tmp_path / "b")).weights


def grey(value):
    return encode(np.full((32, 32), value, np.uint8), "PNG")


def colour(*rgb, kind="PNG"):
    return encode(np.zeros((32, 32, 3), np.uint8) + np.array(rgb, np.uint8), kind)


@pytest.mark.parametrize(
    "masks, reason",
    [
        ({"0": grey(3)}, "0_mask.png: its brightest value is 3: class numbers, or values of 0 to 1"),
        ({"0": colour(0, 1, 1)}, "0_mask.png: its brightest value is 1: class numbers, or values of 0 to 1"),
        ({"0": colour(128, 64, 128)}, "0_mask.png: 100 % of its pixels are of other colours than the seven"),
        ({"0": colour(0, 255, 255, kind="JPEG")}, "0_mask.png: a JPEG, which does not keep a mask's colours"),
        ({"0": grey(0), "1": grey(0)}, "p3_data/train: every pixel of every mask is unknown (black), one class alone"),
        ({"0": colour(0, 255, 0), "1": colour(0, 255, 0)}, "p3_data/train: every pixel of every mask is forest, one"),
    ],
)
def test_masks_in_another_encoding_are_never_read_as_if_they_were_right(masks, reason, tmp_path):
    spoilt = {f"p3_data/train/{tile}_mask.png": content for tile, content in masks.items()}
    with pytest.raises(InputError, match=re.escape(reason)):
        read_course(WHOLE | spoilt, tmp_path)


# -- any spelling of names and tables

letters = st.text("abcXYZ019 _-.é", min_size=1, max_size=8).map(lambda text: text.strip(" .") or "a")


@given(
    st.lists(letters, min_size=1, max_size=5),
    st.sampled_from(["/", "\\", "//", "/./"]),
    st.sampled_from(["", "./", "/", "C:/"]),
)
def test_plain_names_are_relative_and_stay_themselves(parts, separator, before):
    name = plain(before + separator.join(parts))
    assert name == "/".join(parts) == plain(name)


@given(st.lists(st.sampled_from(["..", "a", "p1_data"]), min_size=1, max_size=6).filter(lambda parts: ".." in parts))
def test_no_name_leaves_its_folder(parts):
    assert plain("/".join(parts)) == plain("\\".join(parts)) == ""


@given(st.lists(letters, max_size=4))
def test_root_is_what_lies_before_the_courses_folders(above):
    names = [f"{'/'.join([*above, part])}/train/x.png" for part in ("p1_data", "p3_data")]
    assert roots(names) == ["".join(f"{part}/" for part in above)]


@given(st.lists(letters, min_size=1, max_size=8, unique_by=lambda name: name.casefold()), st.randoms())
def test_names_are_matched_through_case_and_ending_and_never_two_to_one(stems, random):
    stems = [f"{index}{stem.replace('.', '')}" for index, stem in enumerate(stems)]
    files = [f"{stem}.jpg" for stem in stems]
    spellings = ([file, file.upper(), f"train/{file}", f"{file[:-4]}.png"] for file in files)
    wanted = [random.choice(each) for each in spellings]
    found = matched(wanted, files)
    assert len(set(found.values())) == len(found)
    assert [found[name] for name in wanted] == files


@given(st.lists(letters.map(lambda name: name.strip("_- .") or "x"), unique_by=str.casefold, max_size=6))
def test_tiles_and_masks_pair_by_their_ids(tiles):
    names = [f"{tile}{end}" for tile in tiles for end in ("_sat.jpg", "_mask.png")]
    found = pairs(names)
    assert found["sat"].keys() == found["mask"].keys() == set(tiles)


cells = st.text("abc019 ;,|\t\"'é_-", min_size=1, max_size=10).map(lambda text: text.strip() or "a")


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=200)
@given(
    st.lists(st.tuples(cells, st.integers(0, 999)), min_size=1, max_size=6, unique_by=lambda row: row[0]),
    st.sampled_from(",;\t|"),
    st.permutations(["id", "filename", "label", "more"]),
    st.sampled_from([str.lower, str.upper, str.title]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_every_spelling_of_a_table_gives_its_rows(rows, delimiter, columns, case, encoding):
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL)
    writer.writerow([case(column) for column in columns])
    for index, (name, label) in enumerate(rows):
        values = {"id": index, "filename": name, "label": label, "more": "x"}
        writer.writerow([values[column] for column in columns])
    found = read_table(buffer.getvalue().encode(encoding), ("filename", "label"))
    assert [(row.filename, class_number(row.label)) for row in found.rows] == rows


# -- tables


def test_rows_have_their_line_and_cells():
    rows = [Row(2, "7", "a.jpg", "3"), Row(4, "8", "b.jpg", "")]
    assert read_table(b"id,filename,label\n7,a.jpg,3\n\n8,b.jpg,\n", ["filename"]).rows == rows


@pytest.mark.parametrize("text, number", [("007", 7), ("3.0", 3)])
def test_label_is_its_number(text, number):
    assert class_number(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1.", "1e3", "0x1", "one", "²", "1" * 10])
def test_label_that_is_no_class_number_is_refused(text):
    with pytest.raises(TableError, match="is not a class number"):
        class_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "id, filename, label\n7, a.jpg, 3\n8, b c.jpg , 0\n",
        '"id","filename","label"\n"7","a.jpg","3"\n"8","b c.jpg","0"\n',
        'id, "filename", "label"\n7, "a.jpg", 3\n8, "b c.jpg", 0\n',
        "id,filename,label,\n7,a.jpg,3,\n8,b c.jpg,0,\n",
        "id,filename,label\r\n7,a.jpg,3\r\n8,b c.jpg,0",
    ],
)
def test_spaces_quotes_and_ends_of_lines_are_no_part_of_a_cell(text):
    for encoded in (text.encode(), text.encode("utf-8-sig"), text.encode("utf-16")):
        rows = [Row(2, "7", "a.jpg", "3"), Row(3, "8", "b c.jpg", "0")]
        assert read_table(encoded, ["filename", "label"]).rows == rows


@pytest.mark.parametrize(
    "text, line, notes",
    [
        (b"sep=;\nid;filename;label\n7;a.jpg;3\n", 3, []),  # Excel's line of the separator
        (
            *(b"id,image,class\n7,a.jpg,3\n", 2),
            ["filename is taken from the column 'image'", "label is taken from the column 'class'"],
        ),
    ],
)
def test_line_of_the_separator_and_columns_of_other_names_are_understood_and_told(text, line, notes):
    found = read_table(text, ["filename", "label"])
    assert (found.rows, found.notes) == ([Row(line, "7", "a.jpg", "3")], notes)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("a.jpg,3\n", "its first line is 'a.jpg,3', but it must be a header with filename and label"),
        ("file,image,label\na.jpg,b.jpg,3\n", "its first line is 'file,image,label'"),  # which one?
        ("filename,label,label\na.jpg,3,4\n", "its first line is 'filename,label,label'"),
        ("filename,label\na,b.jpg,3\n", "line 2: 3 cells, the header has 2; quote a cell with a separator"),
        ("filename,label\n é.jpg,3\n", "not UTF-8 text"),
    ],
)
def test_what_could_be_misread_is_refused(text, reason):
    with pytest.raises(TableError, match=f"^{re.escape(reason)}"):
        read_table(text.encode("latin-1"), ["filename", "label"])
