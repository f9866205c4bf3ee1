"""Tables of confounds: ADHD's regressors, fMRIPrep's, anybody's.

Confounds are numbers, all of them: where one is missing there is one policy, that of nilearn's ``load_confounds``, and an
error for everything else (`read_confounds`).
"""

import csv
import difflib
import logging
import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from roistream.errors import UserError

logger = logging.getLogger("roistream")


def read_confounds(paths: Sequence[Path], columns: Sequence[str] | None = None) -> list[np.ndarray]:
    """Read the confounds of all runs.

    Missing are values that are empty, ``n/a`` or ``NaN``. What a table of fMRIPrep lacks in its first row only (a
    derivative, the framewise displacement: there is no volume before the first) is taken from its second row, as nilearn's
    ``load_confounds`` does, and logged. Anything else that is missing or no finite number is an error, in the columns
    that are used; the others may hold anything.

    Parameters
    ----------
    paths : sequence of path
        Tables with a header, separated by tabs or commas.
    columns : sequence of str, optional
        The columns to use, by name or pattern, see `select_columns`; by default all. They must be the same in all tables.

    Returns
    -------
    list of numpy.ndarray
        float64, ``(n_rows, n_confounds)``, one for each table.

    Raises
    ------
    UserError
        A table is missing, a column is not in it or its columns differ from the first one's, or a value is missing or no
        finite number; names file, line and column.
    """
    tables: list[np.ndarray] = []
    names: list[str] = []
    filled: list[str] = []
    for path in paths:
        header, rows = parse_confounds(path)
        positions = select_columns(header, columns, path)
        selected = [header[position] for position in positions]
        if tables and selected != names:
            raise UserError(
                f"The confounds {path} have other columns than {paths[0]}; give the same for all runs, "
                "or choose those that all have by confound_columns."
            )
        names = selected
        for number, row in enumerate(rows, start=2):
            if len(row) != len(header):
                raise UserError(
                    f"The confounds {path}, line {number}: {len(header)} columns expected, found {len(row)}; repair the table."
                )
        values = [[row[position].strip() for position in positions] for row in rows]
        if len(values) > 1:
            for column, (first, second) in enumerate(zip(*values[:2], strict=True)):
                if is_missing(first) and not is_missing(second):
                    values[0][column] = second
                    filled.append(names[column])
        table = [
            [as_number(value, path, line, name) for value, name in zip(row, names, strict=True)]
            for line, row in enumerate(values, start=2)
        ]
        tables.append(np.array(table, np.float64).reshape(len(table), len(names)))
    if filled:
        distinct = list(dict.fromkeys(filled))
        logger.info(
            "Confounds: %d value(s) missing in the first row of %d table(s) taken from the second row, in %d column(s): %s.",
            len(filled),
            len(tables),
            len(distinct),
            ", ".join(distinct),
        )
    return tables


def parse_confounds(path: Path, header_only: bool = False) -> tuple[list[str], list[list[str]]]:
    """Split a table of confounds into its header and its rows, as text; empty lines at its end are no rows."""
    try:
        with Path(path).open(encoding="utf-8-sig") as stream:
            text = stream.readline() if header_only else stream.read()
        lines = text.rstrip("\n").split("\n")
        separator = "\t" if "\t" in lines[0] else ","
        # An empty line of a single column is a missing value, which the csv module would give as no value at all.
        header, *rows = [row or [""] for row in csv.reader(lines, delimiter=separator, strict=True)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"The confounds {path} cannot be read ({error}); check the path.") from error
    return [name.strip() for name in header], rows


def count_confounds(path: Path) -> int:
    """Count the rows that `parse_confounds` would give, in a fraction of the time."""
    try:
        lines = Path(path).read_bytes().splitlines()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path.") from None
    except OSError as error:
        raise UserError(f"The confounds {path} cannot be read ({error}); check the path.") from error
    while lines and not lines[-1]:
        lines.pop()
    return max(0, len(lines) - 1)


def select_columns(header: Sequence[str], columns: Sequence[str] | None, path: str | Path) -> list[int]:
    """Find the columns that are asked for.

    Parameters
    ----------
    header : sequence of str
        The names of a table's columns.
    columns : sequence of str or None
        Names, or shell-style patterns: ``*``, ``?`` and ``[0-4]``, in which case matters. None: all columns.
    path : str or path
        What messages call the table.

    Returns
    -------
    list of int
        Positions in the header, in the order asked for, those of one pattern in the header's order; none comes twice.

    Raises
    ------
    UserError
        A name or pattern matches no column, or one that is there twice.
    """
    if columns is None:
        return list(range(len(header)))
    selected: dict[str, int] = {}
    for wanted in columns:
        found = [wanted] if wanted in header else [name for name in header if fnmatchcase(name, wanted)]
        if not found:
            close = difflib.get_close_matches(wanted, header, n=3)
            hint = f"did you mean {', '.join(close)}?" if close else f"its columns are {shortened(header)}."
            raise UserError(f"confound_columns: {wanted!r} matches no column of the confounds {path}; {hint}")
        for name in found:
            if header.count(name) > 1:
                raise UserError(f"The confounds {path} have the column {name!r} twice; rename or remove one.")
            selected.setdefault(name, header.index(name))
    return list(selected.values())


def shortened(names: Sequence[str], n: int = 12) -> str:
    """List the first names."""
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


def is_missing(value: str) -> bool:
    """Tell whether a value of a table stands for none."""
    return value.lower() in ("", "n/a", "nan")


def as_number(value: str, path: Path, line: int, column: str) -> float:
    """Read a finite number, or say where there is none."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        found = "a value is missing" if is_missing(value) else f"{value!r} is no finite number"
        raise UserError(
            f"The confounds {path}, line {line}, column {column!r}: {found}; fill it in, or choose other columns by "
            "confound_columns."
        )
    return number
