"""Tables of any encoding, compression and separator are read alike, or refused with the real cause."""

import bz2
import gzip
import lzma
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roistream.cleaning.confounds import read_confounds
from roistream.errors import UserError
from roistream.paths import shown
from roistream.regions.coverage import read_regions
from roistream.regions.label_names import read_label_names
from roistream.study.run_lengths import read_run_lengths
from roistream.study.tables import read_rows
from roistream.tables import count_rows, read_table

NAMES = st.text("abcxyz_ äµ-.", min_size=1, max_size=8).map(str.strip).filter(lambda name: name and name != "-")
CELLS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr), st.sampled_from(["n/a", "", "word", "a\tb", 'say "x"'])
)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]
COMPRESSIONS = [bytes, gzip.compress, bz2.compress, lzma.compress]


@st.composite
def tables(draw):
    """Draw names, which are no numbers, and rows of at least two columns, of which the last row is not empty."""
    columns = draw(st.lists(NAMES.filter(is_word), min_size=2, max_size=5, unique=True))
    row = st.lists(CELLS, min_size=len(columns), max_size=len(columns))
    return columns, draw(st.lists(row.filter(any), max_size=6))


def is_word(name):
    return not name.replace(".", "").replace("-", "").isdecimal() and not name.startswith("Unnamed")


def word(cell, separator):
    """Quote a cell where that is needed."""
    return '"' + cell.replace('"', '""') + '"' if set(cell) & {separator, '"', "\t"} else cell


def text_of(columns, rows, separator="\t", newline="\n", end=""):
    return "".join(separator.join(word(cell, separator) for cell in row) + end + newline for row in [columns, *rows])


def read(path):
    return read_table(path, f"The table {path}", "check the path")


def message(path):
    with pytest.raises(UserError) as error:
        read(path)
    assert shown(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "table.tsv"


@given(
    table=tables(),
    separator=st.sampled_from("\t;,"),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(ENCODINGS),
    compress=st.sampled_from(COMPRESSIONS),
    end=st.sampled_from(["", "\t", "\t\t"]),
    after=st.sampled_from(["", "\n", "\n\n \n", "\t\t\n"]),
)
def test_cells_are_the_same_however_they_are_written(path, table, separator, newline, encoding, compress, end, after):
    columns, rows = table
    end = end.replace("\t", separator)
    path.write_bytes(compress((text_of(columns, rows, separator, newline, end) + after).encode(encoding)))
    found = read(path)
    assert found.columns == columns
    assert found.rows == rows
    assert (found.separator, found.row_numbers) == (separator, False)
    assert list(found.lines) == list(range(2, len(rows) + 2))
    assert count_rows(path, "", "") == len(rows)


@given(table=tables(), first=st.integers(0, 1), name=st.sampled_from(["", '""', "Unnamed: 0", "Unnamed: 0.1", None]))
def test_an_unnamed_column_of_row_numbers_is_left_out(path, table, first, name):
    columns, rows = table
    # Where all last cells are empty, what is one too many may as well be a separator at the end of the line.
    rows = [[*row[:-1], row[-1] or "n/a"] for row in rows]
    numbered = [[str(number), *row] for number, row in enumerate(rows, start=first)]
    header = columns if name is None else [name, *columns]
    path.write_text(text_of(header, numbered).replace('""""""', '""'), "utf-8")
    found = read(path)
    assert found.row_numbers == bool(rows)
    if rows:
        assert (found.columns, found.rows) == (columns, rows)


@pytest.mark.parametrize(
    "text", ["\tx\n0\t1\n2\t3\n", "\tx\n1.5\t1\n2.5\t3\n", "i\tx\n0\t1\n1\t3\n", "x\t\n5\t0\n6\t1\n"]
)
def test_other_columns_are_columns(path, text):
    path.write_text(text)
    found = read(path)
    assert len(found.columns) == 2
    assert not found.row_numbers
    assert found.rows == [line.split("\t") for line in text.splitlines()[1:]]


def test_blanks_may_separate_numbers_and_be_a_part_of_a_name(path):
    path.write_text(" rot_x   rot_y \n  0.1  -2 \n 3 4\n\n")
    assert read(path).columns == ["rot_x", "rot_y"]
    assert read(path).rows == [["0.1", "-2"], ["3", "4"]]
    path.write_text("framewise displacement\n0.1\n0.2\n")
    assert (read(path).columns, read(path).rows) == (["framewise displacement"], [["0.1"], ["0.2"]])


def test_rows_that_do_not_fit_are_left_as_they_are(path):
    path.write_text("a\tb\n1\t2\t3\n\n4\n5\t\n6\t7\t\t\n")
    assert read(path).rows == [["1", "2", "3"], [""], ["4"], ["5", ""], ["6", "7"]]
    assert list(read(path).lines) == [2, 3, 4, 5, 6]
    path.write_text('a\tb\n"1\n1"\t2\n3\t4\n')
    assert (read(path).rows, read(path).lines) == ([["1\n1", "2"], ["3", "4"]], [3, 4])


@given(st.lists(st.floats(width=32), min_size=1, max_size=6), st.sampled_from(["\t", ",", ";", "  "]))
def test_a_first_line_of_numbers_is_no_header(path, numbers, separator):
    path.write_text((separator.join(map(repr, numbers)) + "\n") * 3)
    text = message(path)
    assert "no header" in text
    assert "numbers" in text


@pytest.mark.parametrize(
    "header", ["0\t1\t2", "1", "n/a\t0.5", "\t0.5", "sub-01\t0.25\t-3", "0,5;1,25", '"1.5"\t"2"', "nan\tnan"]
)
def test_headers_that_are_none(path, header):
    path.write_text(header + "\n" + header + "\n")
    assert "no header" in message(path)


@pytest.mark.parametrize("header", ["x1\tx2", "n/a\tx", "subject\t1\t2", "1_000\t2x", "a-1\t-"])
def test_headers_that_are_odd_but_headers(path, header):
    path.write_text(header + "\n")
    assert read(path).columns == header.split("\t")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("größe\t2\n".encode("latin-1"), "line 1 is not in UTF-8; it may be in Latin-1"),
        (b"a\tb\n1\t2\n\xb5\t3\n", "line 3 is not in UTF-8"),
        ("a\tb\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("a\tb\n".encode("utf-16")[:-1], "damaged UTF-16"),
        (b"a\tb\n1\0\t2\n", "zero bytes"),
        (gzip.compress(b"a\tb\n" * 99, mtime=0)[:-9], "compressed content is damaged"),
        (gzip.compress(b"a\tb\n" * 99, mtime=0)[:-8] + bytes(8), "compressed content is damaged"),
        (bz2.compress(b"a\tb\n" * 99)[:-9], "compressed content is damaged"),
        (lzma.compress(b"a\tb\n" * 99)[:-9], "compressed content is damaged"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"\xd0\xcf\x11\xe0rest", "spreadsheet"),
        (gzip.compress(b"PK\x03\x04rest", mtime=0), "spreadsheet"),
        (b"/annex/objects/MD5E-s1--x.tsv\n", "git-annex, whose content has not been fetched"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS, whose content has not been fetched"),
        (b'a\tb\n1\t"2\n', "unexpected end of data"),
    ],
)
def test_what_is_no_such_text_is_refused_with_its_cause(path, content, cause):
    path.write_bytes(content)
    text = message(path)
    assert cause in text
    assert "save it as TSV in UTF-8" in text


def test_files_that_are_not_there(tmp_path):
    assert message(tmp_path / "absent.tsv").endswith("absent.tsv does not exist; check the path.")
    assert "it is a folder" in message(tmp_path)
    link = tmp_path / "link.tsv"
    link.symlink_to(tmp_path / "content")
    assert "content has not been fetched" in message(link)
    assert "too long" in message(tmp_path / ("x" * 300)).lower()


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file that the kernel cannot read")
def test_an_error_of_the_system_says_nothing_of_the_content(tmp_path):
    (tmp_path / "table.tsv").symlink_to("/proc/self/mem")
    text = message(tmp_path / "table.tsv")
    assert "could not be read: Input/output error" in text
    assert "save it" not in text
    for read_other in (read_regions, read_run_lengths):
        with pytest.raises(UserError, match="could not be read: Input/output error"):
            read_other(tmp_path / "table.tsv")


def test_empty_files(path):
    path.write_text("")
    assert (read(path).columns, read(path).rows, count_rows(path, "", "")) == ([], [], 0)
    path.write_text("\n\n")
    assert (read(path).rows, count_rows(path, "", "")) == ([], 0)


ANYTHING = st.one_of(
    st.binary(max_size=200),
    st.text(st.sampled_from("indexame\t\n,; 01.-\"'_nN/a\r\x0b\x85\u2028ä"), max_size=120).map(str.encode),
    st.text(st.sampled_from('ab\t\n,; 01."'), max_size=80).map(lambda text: text.encode("utf-16")),
    st.binary(max_size=80).map(gzip.compress),
    st.binary(max_size=80).map(lambda content: gzip.compress(content)[:-3]),
)


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_anything_is_read_or_refused_in_words(path, content):
    path.write_bytes(content)
    refusals = []
    for reader in (read, lambda path: read_confounds([path]), read_label_names, read_rows):
        try:
            reader(path)
        except UserError as error:
            refusals.append(str(error))
    assert all(str(path) in text for text in refusals)
    with suppress(UserError):
        assert count_rows(path, "", "") == len(read(path).rows)
