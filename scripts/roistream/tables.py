"""Tables as people have them: of any encoding, compression and separator, or one sentence with the real cause.

What is read is what the file's content says, not its name. Nothing is guessed where two readings are possible: text in an
encoding that does not name itself, numbers in place of a header and decimal commas are told, not interpreted.
"""

import bz2
import csv
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roistream.errors import UserError
from roistream.paths import why_unreadable

SEPARATORS = ("\t", ";", ",", " ")
"""In the order in which they are tried; a blank stands for any number of blanks."""

SEPARATOR_NAMES = {"\t": "tabs", ";": "semicolons", ",": "commas", " ": "blanks", "": "nothing"}

DECOMPRESSORS = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}

NO_TEXT = {
    b"PK\x03\x04": "it is a spreadsheet or another zip archive",
    b"\xd0\xcf\x11\xe0": "it is a spreadsheet",
    b"\x28\xb5\x2f\xfd": "it is compressed by zstd",
    b"PAR1": "it is a Parquet file",
    b"/annex/objects/": "it is a pointer of git-annex, whose content has not been fetched",
    b"version https://git-lfs": "it is a pointer of Git LFS, whose content has not been fetched",
}
"""Beginnings of files that are no text, or not the text that is wanted."""

BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}

UNNAMED = re.compile(r"(Unnamed: \d+(\.\d+)?(_level_\d+)?)?")
"""No name, or what pandas makes of none when it reads and writes a table."""


@dataclass(frozen=True)
class Table:
    """The cells of a table, as text.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    columns : list of str
        The names of the first line.
    rows : list of list of str
        The rows below; one that lacks cells or has too many is kept as it is, and empty ones at the end are none.
    lines : list of int
        The number of each row's line in the file.
    separator : str
        One of `SEPARATORS`, or nothing for a single column.
    row_numbers : bool
        Whether there was an unnamed column that counts the rows; it has been left out.
    """

    path: Path
    columns: list[str]
    rows: list[list[str]]
    lines: Sequence[int]
    separator: str
    row_numbers: bool = False


def read_table(path: str | Path, title: str, advice: str, separators: Sequence[str] = SEPARATORS) -> Table:
    """Read a table with a header.

    Parameters
    ----------
    path : path
        Text in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; plain, or compressed by gzip, bzip2 or xz.
    title : str
        What messages call the table, such as "The confounds x.tsv".
    advice : str
        What to do if there is no such file, such as "check the path".
    separators : sequence of str
        Those that are possible.

    Raises
    ------
    UserError
        There is no such file, it is no text, or its first line is no header.
    """
    path = Path(path)
    text = read_text(path, title, advice)
    try:
        separator = find_separator(text.split("\n", 2)[:2], separators)
        rows, lines = split_rows(text, separator)
    except csv.Error as error:
        raise unreadable(title, str(error)) from error
    columns = [name.strip() for name in rows.pop(0)] if rows else []
    check_header(columns, title)
    table = Table(path, columns, rows, lines[1:], separator)
    return without_row_numbers(without_empty_columns(table))


def count_rows(path: str | Path, title: str, advice: str) -> int:
    """Count the rows that `read_table` would give, in a fraction of the time."""
    text = read_text(Path(path), title, advice)
    return len(read_table(path, title, advice).rows) if '"' in text else max(0, len(split_lines(text)) - 1)


def read_text(path: Path, title: str, advice: str) -> str:
    """Read a text file; its lines end as those of Unix do."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            target = path.readlink()
            raise UserError(
                f"{title} is a link to {target}, which is not there: its content has not been fetched."
            ) from None
        raise UserError(f"{title} does not exist; {advice}.") from None
    except IsADirectoryError:
        raise unreadable(title, "it is a folder") from None
    except OSError as error:
        raise UserError(f"{title.removesuffix(str(path))}{why_unreadable(path, error)}") from error
    for beginning, decompress in DECOMPRESSORS.items():
        if content.startswith(beginning):
            try:
                content = decompress(content)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise unreadable(title, f"its compressed content is damaged: {error}") from error
    for beginning, cause in NO_TEXT.items():
        if content.startswith(beginning):
            raise unreadable(title, cause)
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        known = (
            "not in UTF-8; it may be in Latin-1 or Windows-1252"
            if encoding == "utf-8"
            else f"damaged {encoding.upper()}"
        )
        raise unreadable(title, f"line {line} is {known}") from error
    if "\0" in text:
        raise unreadable(title, "it holds zero bytes; it is no text, or in UTF-16 without a byte order mark")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def unreadable(title: str, cause: str) -> UserError:
    """Word why a table cannot be read."""
    return UserError(f"{title} is not readable as tab-separated text ({cause}); save it as TSV in UTF-8.")


def find_separator(lines: Sequence[str], separators: Sequence[str]) -> str:
    """Tell what separates the names of a header, the first line; nothing if there is only one, of which blanks may be a part."""
    for separator in separators:
        try:
            n_names, *n_cells = (len(split_line(line, separator)) for line in lines)
            if n_names > 1 and (separator != " " or (n_cells and n_cells[0] > 1)):
                return separator
        except csv.Error:  # a quote ends before something else than this separator
            continue
    return ""


def split_line(line: str, separator: str) -> list[str]:
    """Split a line into its cells."""
    if separator == " ":
        return (
            next(csv.reader([" ".join(line.split())], delimiter=" ", strict=True), []) if '"' in line else line.split()
        )
    return next(csv.reader([line], delimiter=separator or "\t", strict=True), [])


def split_lines(text: str) -> list[str]:
    """Split a text into lines, without those at the end that hold nothing but separators."""
    lines = text.split("\n")
    while lines and not lines[-1].strip(" \t,;"):
        lines.pop()
    return lines


def split_rows(text: str, separator: str) -> tuple[list[list[str]], Sequence[int]]:
    """Split a text into rows, and give the number of each row's (last) line."""
    lines = split_lines(text)
    if '"' in text and separator != " ":
        reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator or "\t", strict=True)
        rows, numbers = [], []
        for row in reader:
            rows.append(row or [""])
            numbers.append(reader.line_num)
        return rows, numbers
    if separator == " ":
        return [split_line(line, " ") or [""] for line in lines], range(1, len(lines) + 1)
    return [line.split(separator or "\t") for line in lines], range(1, len(lines) + 1)


def check_header(columns: Sequence[str], title: str) -> None:
    """Refuse a first line that holds values: the first row would be lost, and its values taken for names."""
    named = [name for name in columns if name.lower() not in ("", "n/a")]
    numbers = [name for name in named if is_number(name)]
    if numbers and (len(numbers) == len(named) or any(not name.lstrip("+-").isdecimal() for name in numbers)):
        shown = ", ".join(numbers[:3]) + (", …" if len(numbers) > 3 else "")
        raise UserError(
            f"{title} has no header: its first line holds numbers ({shown}) where the names of columns are expected; "
            "add a line with a name for each column."
        )


def is_number(text: str) -> bool:
    """Tell whether a text is a number, or "nan"."""
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return "_" not in text


def without_empty_columns(table: Table) -> Table:
    """Leave out what separators at the ends of lines make: cells beyond the header, and columns, that hold nothing."""
    n_columns = len(table.columns)
    rows = table.rows
    if any(len(row) > n_columns for row in rows):
        rows = [row if any(cell.strip() for cell in row[n_columns:]) else row[:n_columns] for row in rows]
    while n_columns > 1 and not table.columns[n_columns - 1]:
        last = n_columns - 1
        if any(len(row) > last and row[last].strip() for row in rows):
            break
        rows = [row[:last] if len(row) == n_columns else row for row in rows]
        n_columns = last
    return Table(table.path, table.columns[:n_columns], rows, table.lines, table.separator)


def without_row_numbers(table: Table) -> Table:
    """Leave out a first column that has no name and counts the rows.

    pandas writes its index so, R its names of rows: with one name fewer than there are columns.
    """
    columns, rows = table.columns, table.rows
    if rows and all(len(row) == len(columns) + 1 for row in rows):
        columns = ["", *columns]
    if len(columns) < 2 or not UNNAMED.fullmatch(columns[0]) or not counts([row[0] for row in rows]):
        return table
    return Table(table.path, columns[1:], [row[1:] for row in rows], table.lines, table.separator, row_numbers=True)


def counts(cells: Sequence[str]) -> bool:
    """Tell whether cells count rows, from 0 or from 1."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return False
    return bool(numbers) and numbers[0] in (0, 1) and numbers == [numbers[0] + row for row in range(len(numbers))]
