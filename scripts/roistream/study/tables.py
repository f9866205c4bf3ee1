"""The text of a runs table, before anything is made of it."""

import os
from pathlib import Path

from roistream.errors import UserError
from roistream.tables import read_table


def list_images(path: str | Path) -> list[str]:
    """List the images of a runs table, in order; nothing else of it is looked at."""
    return list(dict.fromkeys(read_column(Path(path), "image")))


def folder_of_runs(path: str | Path) -> str:
    """Find the folder that has all the runs of a runs table below it, as the table words it where that is possible."""
    path = Path(path)
    folders = {(path.parent / run).parent for run in read_column(path, "run")}
    if len({folder.is_absolute() for folder in folders}) > 1 or any(folder == Path() for folder in folders):
        folders = {folder.absolute() for folder in folders}
    return os.path.commonpath(folders)


def read_column(path: Path, column: str) -> list[str]:
    """Read one column of a runs table."""
    columns, rows = read_rows(path)
    if column not in columns:
        raise UserError(f"The runs table {path} lacks the column {column!r}; give the table of the study.")
    place = columns.index(column)
    return [row[place] for _, row in rows if len(row) > place]


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read a TSV: its columns, and its rows with the number of their last line; empty lines are no rows."""
    table = read_table(path, f"The runs table {path}", "check the config key 'dataset'", separators=["\t"])
    rows = ([value.strip() for value in row] for row in table.rows)
    return table.columns, [(line, row) for line, row in zip(table.lines, rows, strict=True) if row != [""]]
