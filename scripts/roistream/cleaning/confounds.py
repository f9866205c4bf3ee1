"""Tables of confounds: ADHD's regressors, fMRIPrep's, anybody's.

Confounds are numbers, all of them: where one is missing there is one policy, that of nilearn's ``load_confounds``, and an
error for everything else (`read_confounds`).
"""

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.tables import SEPARATOR_NAMES, Table, count_rows, read_table

logger = logging.getLogger("roistream")

ADVICE = "check the path"
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Confounds:
    """The confounds of one run.

    Attributes
    ----------
    path : pathlib.Path
        Their table.
    names : list of str
        The columns that are used, in order; there may be none.
    values : numpy.ndarray
        float64, ``(n_rows, n_confounds)``.
    """

    path: Path
    names: list[str]
    values: np.ndarray


def read_confounds(
    paths: Sequence[Path], columns: Sequence[str] | None = None, unmatched: str = "error"
) -> list[Confounds]:
    """Read the confounds of all runs.

    Missing are values that are empty, ``n/a`` or ``NaN``. What a table of fMRIPrep lacks in its first row only (a
    derivative, the framewise displacement: there is no volume before the first) is taken from its second row, as nilearn's
    ``load_confounds`` does, and logged. Anything else that is missing or no finite number is an error, in the columns
    that are used; the others may hold anything.

    Parameters
    ----------
    paths : sequence of path
        Tables with a header, see `roistream.tables.read_table`.
    columns : sequence of str, optional
        The columns to use, by name or pattern, see `select_columns`; by default all that a table has. What a pattern
        matches, each table may have other columns.
    unmatched : {"error", "warn"}
        What to do with a pattern that matches no column of any table: other images of a study may have such columns.

    Returns
    -------
    list of Confounds
        One for each table.

    Raises
    ------
    UserError
        A table is missing, a column is not in it, or a value is missing or no finite number; names file, line and column.
    """
    return choose_confounds([parse_confounds(path) for path in paths], columns, unmatched)


def choose_confounds(
    tables: Sequence[Table], columns: Sequence[str] | None = None, unmatched: str = "error"
) -> list[Confounds]:
    """Do with tables that have been read what `read_confounds` does."""
    found = [take_columns(table, columns) for table in tables]
    if tables and (patterns := unmatched_patterns([table.columns for table in tables], columns)):
        pattern, header = patterns[0], tables[0].columns
        listed = ", ".join(str(table.path) for table in tables)
        if unmatched == "error":
            raise UserError(
                f"confound_columns: {pattern!r} matches no column of the confounds {listed}; {hint(pattern, header)}"
            )
        logger.warning("No column of the confounds %s matches %s.", listed, ", ".join(patterns))
    if numbered := [table.path for table in tables if table.row_numbers]:
        logger.info("The unnamed column of row numbers is no confound, in %d table(s): %s.", len(numbered), numbered[0])
    if filled := [name for confounds, names in found for name in names]:
        distinct = list(dict.fromkeys(filled))
        logger.info(
            "Confounds: %d value(s) missing in the first row of %d table(s) taken from the second row, in %d column(s): %s.",
            len(filled),
            len(tables),
            len(distinct),
            ", ".join(distinct),
        )
    return [confounds for confounds, _ in found]


def parse_confounds(path: Path) -> Table:
    """Read a table of confounds, as text."""
    return read_table(path, f"The table of confounds {path}", ADVICE)


def count_confounds(path: Path) -> int:
    """Count the rows that `parse_confounds` would give, in a fraction of the time."""
    return count_rows(path, f"The table of confounds {path}", ADVICE)


def take_columns(table: Table, columns: Sequence[str] | None) -> tuple[Confounds, list[str]]:
    """Make numbers of the columns that are asked for; name also those whose first value is the second row's."""
    positions = select_columns(table.columns, columns, table.path)
    names = [table.columns[position] for position in positions]
    for line, row in zip(table.lines, table.rows, strict=True):
        if len(row) != len(table.columns):
            several = len(row) > len(table.columns) and table.separator == ","
            raise UserError(
                f"The confounds {table.path}, line {line}: {len(table.columns)} columns expected, found {len(row)}; "
                + ("repair the table, or write its numbers without decimal commas." if several else "repair the table.")
            )
    values = [[row[position].strip() for position in positions] for row in table.rows]
    filled = []
    if len(values) > 1:
        for column, (first, second) in enumerate(zip(*values[:2], strict=True)):
            if is_missing(first) and not is_missing(second):
                values[0][column] = second
                filled.append(names[column])
    try:
        matrix = np.array([[float(value) for value in row] for row in values], np.float64)
        plain = np.isfinite(matrix).all() and not any("_" in value for row in values for value in row)
    except ValueError:
        plain = False
    if not plain:
        raise wrong_values(table, names, values)
    return Confounds(table.path, names, matrix.reshape(len(values), len(names))), filled


def take_measure(table: Table, name: str, key: str) -> np.ndarray:
    """Make numbers of one column that `key` asks for: float64, NaN where a value is missing.

    Raises
    ------
    UserError
        The column is not there, or a value is neither missing nor a finite number.
    """
    [position] = select_columns(table.columns, [name], table.path, key)
    values = [row[position].strip() if len(row) > position else "" for row in table.rows]
    for line, value in zip(table.lines, values, strict=True):
        if not is_missing(value) and not is_finite(value):
            raise UserError(
                f"The confounds {table.path}, line {line}, column {name!r}: {value!r} is no finite number; correct it."
            )
    return np.array([math.nan if is_missing(value) else float(value) for value in values])


def refuse_other_columns(tables: Sequence[Confounds]) -> None:
    """Refuse confounds of several runs that are not the same, as they must be where the runs are cleaned as one."""
    if other := next((table for table in tables if table.names != tables[0].names), None):
        raise UserError(
            f"The confounds {other.path} have other columns than {tables[0].path}; choose those that all have by "
            "confound_columns, or clean each run by itself (per_run)."
        )


def wrong_values(table: Table, names: Sequence[str], values: Sequence[Sequence[str]]) -> UserError:
    """Word which values are no finite numbers: the first of them, and how many more there are."""
    wrong = [
        (line, name, value)
        for line, row in zip(table.lines, values, strict=True)
        for name, value in zip(names, row, strict=True)
        if not is_finite(value)
    ]
    line, name, value = wrong[0]
    if DECIMAL_COMMA.fullmatch(value):
        found = (
            f"{value!r} has a decimal comma (the columns are separated by {SEPARATOR_NAMES[table.separator]}); "
            "write numbers with a decimal point"
        )
    else:
        found = "a value is missing" if is_missing(value) else f"{value!r} is no finite number"
        found += "; fill it in, or choose other columns by confound_columns"
    more = f" ({len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
    return UserError(f"The confounds {table.path}, line {line}, column {name!r}: {found}{more}.")


def select_columns(
    header: Sequence[str], columns: Sequence[str] | None, path: str | Path, key: str = "confound_columns"
) -> list[int]:
    """Find the columns that are asked for.

    Parameters
    ----------
    header : sequence of str
        The names of a table's columns.
    columns : sequence of str or None
        Names, which must be there, or shell-style patterns, which may match nothing: ``*``, ``?`` and ``[0-4]``, in which
        case matters. None: all columns.
    path : str or path
        What messages call the table.
    key : str
        What asks for them.

    Returns
    -------
    list of int
        Positions in the header, in the order asked for, those of one pattern in the header's order; none comes twice.

    Raises
    ------
    UserError
        A name is not there, or a column that is used has no name or the name of another.
    """
    selected: dict[str, int] = {}
    for wanted in header if columns is None else columns:
        found = matching(wanted, header) if columns is not None else [wanted]
        if not found and not is_pattern(wanted):
            raise UserError(f"{key}: {wanted!r} matches no column of the confounds {path}; {hint(wanted, header)}")
        for name in found:
            if not name:
                raise UserError(
                    f"The confounds {path} have no name for column {header.index(name) + 1}; give it one, or leave it out."
                )
            if header.count(name) > 1:
                raise UserError(f"The confounds {path} have the column {name!r} twice; rename or remove one.")
            selected.setdefault(name, header.index(name))
    return list(selected.values())


def matching(wanted: str, header: Sequence[str]) -> list[str]:
    """List the columns that a name or pattern stands for."""
    return [wanted] if wanted in header else [name for name in header if name and fnmatchcase(name, wanted)]


def is_pattern(wanted: str) -> bool:
    """Tell whether an entry of confound_columns is a pattern."""
    return any(sign in wanted for sign in "*?[")


def unmatched_patterns(headers: Sequence[Sequence[str]], columns: Sequence[str] | None) -> list[str]:
    """List the patterns that match no column of any table."""
    patterns = [wanted for wanted in columns or () if is_pattern(wanted)]
    return [wanted for wanted in patterns if not any(matching(wanted, header) for header in headers)]


def hint(wanted: str, header: Sequence[str]) -> str:
    """Word what may have been meant."""
    import difflib  # only where somebody has mistyped

    close = difflib.get_close_matches(wanted, header, n=3)
    return f"did you mean {', '.join(close)}?" if close else f"its columns are {shortened(header)}."


def shortened(names: Sequence[str], n: int = 12) -> str:
    """List the first names."""
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


def is_missing(value: str) -> bool:
    """Tell whether a value of a table stands for none."""
    return value.lower() in ("", "n/a", "nan")


def is_finite(value: str) -> bool:
    """Tell whether a text is a finite number, as others than Python write it."""
    try:
        return math.isfinite(float(value)) and "_" not in value
    except ValueError:
        return False
