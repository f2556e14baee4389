"""Tables of file names and labels."""

import pytest

from hw1.archive.spelling import Row, TableError, class_number, read_table


def test_rows_have_their_line_and_cells():
    assert read_table(b"id,filename,label\n7,a.jpg,3\n\n8,b.jpg,\n", ["filename"]).rows == [
        Row(2, "7", "a.jpg", "3"),
        Row(4, "8", "b.jpg", ""),
    ]


def test_absent_columns_are_empty_and_others_left_out():
    assert read_table(b"more,filename\nx,a.jpg\n", ["filename"]).rows == [Row(2, "", "a.jpg", "")]


def test_required_column_must_be_in_the_header():
    with pytest.raises(
        TableError, match="its first line is 'filename,label', but it must be a header with id and filename"
    ):
        read_table(b"filename,label\na.jpg,1\n", ["id", "filename"])


def test_quoted_name_keeps_its_comma():
    assert read_table('id,filename\r\n1,"a, b.jpg"\r\n'.encode("utf-8-sig"), ["id"]).rows[0].filename == "a, b.jpg"


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1.", "1e3", "0x1", "one", "²", "1" * 10])
def test_label_that_is_no_class_number_is_refused(text):
    with pytest.raises(TableError, match="is not a class number"):
        class_number(text)


def test_label_is_its_number():
    assert class_number("007") == 7 and class_number("3.0") == 3


ROWS = [Row(2, "7", "a.jpg", "3"), Row(3, "8", "b c.jpg", "0")]


@pytest.mark.parametrize(
    "text",
    [
        "id;filename;label\n7;a.jpg;3\n8;b c.jpg;0\n",
        "id\tfilename\tlabel\n7\ta.jpg\t3\n8\tb c.jpg\t0\n",
        "id|filename|label\n7|a.jpg|3\n8|b c.jpg|0\n",
        "ID,Filename,LABEL\n7,a.jpg,3\n8,b c.jpg,0\n",
        "id, filename, label\n7, a.jpg, 3\n8, b c.jpg , 0\n",
        '"id","filename","label"\n"7","a.jpg","3"\n"8","b c.jpg","0"\n',
        'id, "filename", "label"\n7, "a.jpg", 3\n8, "b c.jpg", 0\n',
        "label,more,id,filename\n3,x,7,a.jpg\n0,,8,b c.jpg\n",
        "id,filename,label,\n7,a.jpg,3,\n8,b c.jpg,0,\n",
        "id,filename,label\r\n7,a.jpg,3\r\n8,b c.jpg,0",
    ],
)
def test_spellings_of_one_table_read_alike(text):
    for encoded in (text.encode(), text.encode("utf-8-sig"), text.encode("utf-16")):
        assert read_table(encoded, ["filename", "label"]).rows == ROWS


def test_excels_line_of_the_separator_is_passed_over():
    found = read_table(b"sep=;\nid;filename;label\n7;a.jpg;3\n", ["filename", "label"])
    assert found.rows == [Row(3, "7", "a.jpg", "3")]


def test_columns_of_other_names_are_taken_and_told():
    found = read_table(b",image,class\n0,a.jpg,3\n", ["filename", "label"])
    assert found.rows == [Row(2, "0", "a.jpg", "3")]
    assert found.notes == ["filename is taken from the column 'image'", "label is taken from the column 'class'"]


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
    with pytest.raises(TableError) as caught:
        read_table(text.encode("latin-1"), ["filename", "label"])
    assert str(caught.value).startswith(reason)
