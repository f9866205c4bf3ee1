"""Tables that name the labels of an atlas, and whether they are those of an atlas."""

import logging
from collections.abc import Sequence
from pathlib import Path

from roistream.errors import UserError
from roistream.regions.coverage import list_labels
from roistream.tables import read_table

logger = logging.getLogger("roistream")


def read_label_names(path: str | Path) -> dict[int, str]:
    """Read a table of labels, in its order.

    Parameters
    ----------
    path : path
        A table with columns ``index`` and ``name`` (BIDS's ``dseg.tsv``), see `roistream.tables.read_table`; further columns are
        ignored, index 0 too.

    Raises
    ------
    UserError
        The file is no such table, an index is no whole number, or an index or name occurs twice; all such lines at once.
    """
    table = read_table(path, str(path), "check the config key 'atlas_labels'", separators=("\t", ";", ","))
    missing = {"index", "name"} - set(table.columns)
    if missing:
        found = f"; its columns are {', '.join(table.columns)}" if any(table.columns) else ""
        raise UserError(
            f"{path} lacks the column {min(missing)!r}; atlas_labels is a TSV with columns index and name{found}."
        )
    names: dict[int, str] = {}
    problems: list[str] = []
    for line, row in zip(table.lines, table.rows, strict=True):
        if row == [""]:
            continue
        index, name = (
            row[place].strip() if place < len(row) else "" for place in map(table.columns.index, ("index", "name"))
        )
        if not (index.isascii() and index.isdecimal()) or not name:
            problems.append(f"line {line}: index {index!r} with name {name!r}; give a whole number and a name")
        elif int(index) in names or name in names.values():
            problems.append(f"line {line}: {index} {name!r} occurs twice; make indices and names unique")
        else:
            names[int(index)] = name
    if len(problems) == 1:
        raise UserError(f"{path}, {problems[0]}.")
    if problems:
        raise UserError(f"{path} has {len(problems)} problems; correct them:\n" + "\n".join(problems))
    return {index: name for index, name in names.items() if index != 0}


def compare_labels(
    known: Sequence[int], present: Sequence[int], requested: Sequence[int], table: str, atlas: str
) -> None:
    """Tell which labels only an atlas has, and which only its table.

    Parameters
    ----------
    known, present : sequence of int
        The labels of the table and of the atlas.
    requested : sequence of int
        Those that are asked for; what only the table has and nobody asks for is of no account.
    table, atlas : str
        What messages call them.
    """
    if unnamed := sorted(set(present) - set(known)):
        asked = sorted(set(unnamed) & set(requested))
        logger.warning(
            "%d of the %d labels of %s are not in %s, and %s: %s.",
            len(unnamed),
            len(present),
            atlas,
            table,
            "have no other name than their number" if asked == unnamed else "are left out unless 'regions' lists them",
            list_labels(unnamed),
        )
    if absent := sorted(set(known) - set(present)):
        logger.warning(
            "%d of the %d labels of %s are not in %s, %d of them asked for: %s.",
            len(absent),
            len(known),
            table,
            atlas,
            len(set(absent) & set(requested)),
            list_labels(absent),
        )
