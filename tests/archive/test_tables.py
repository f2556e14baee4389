"""Tables of file names and labels."""

import pytest

from hw1.archive.tables import Row, TableError, class_number, read_rows


def test_rows_have_their_line_and_cells():
    assert read_rows(b"id,filename,label\n7,a.jpg,3\n\n8,b.jpg,\n", ["filename"]) == [
        Row(2, "7", "a.jpg", "3"),
        Row(4, "8", "b.jpg", ""),
    ]


def test_absent_columns_are_empty_and_others_left_out():
    assert read_rows(b"more,filename\nx,a.jpg\n", ["filename"]) == [Row(2, "", "a.jpg", "")]


def test_required_column_must_be_in_the_header():
    with pytest.raises(TableError, match="header id,filename,label"):
        read_rows(b"filename,label\na.jpg,1\n", ["id", "filename"])


def test_quoted_name_keeps_its_comma():
    assert read_rows('id,filename\r\n1,"a, b.jpg"\r\n'.encode("utf-8-sig"), ["id"])[0].filename == "a, b.jpg"


@pytest.mark.parametrize("text", ["", "-1", "1.0", " 1", "one", "²", "1" * 10])
def test_label_that_is_no_class_number_is_refused(text):
    with pytest.raises(TableError, match="is not a class number"):
        class_number(text)


def test_label_is_its_number():
    assert class_number("007") == 7
