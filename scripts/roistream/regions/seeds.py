"""Tables of spheres: the seeds around which regions lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roistream.errors import UserError
from roistream.tables import Table, read_table

MISSING = ("", "n/a")


@dataclass(frozen=True)
class Seed:
    """A row of a table of spheres.

    Attributes
    ----------
    label : int
        The number of the row, from 1.
    name : str
        What the region is called.
    place : tuple of float
        ``x``, ``y``, ``z`` in mm, in the world coordinates of the images.
    radius : float or None
        In mm; None for the voxel in which the seed lies.
    """

    label: int
    name: str
    place: tuple[float, float, float]
    radius: float | None


def read_seeds(path: str | Path) -> list[Seed]:
    """Read a table of spheres.

    Parameters
    ----------
    path : path
        A table with the columns ``x``, ``y``, ``z`` and, where there are such, ``radius`` and ``name``; see
        `roistream.tables.read_table`. Without a radius a sphere is the voxel in which its seed lies, as for nilearn's
        NiftiSpheresMasker. Without a name the region of row 3 is ``region-3``. Further columns are ignored.

    Raises
    ------
    UserError
        The file is no such table, a coordinate or radius is no number, or a name occurs twice; all such lines at once.
    """
    table = read_table(path, str(path), "check the config key 'atlas'")
    if missing := [column for column in ("x", "y", "z") if column not in table.columns]:
        found = f"; its columns are {', '.join(table.columns)}" if any(table.columns) else ""
        raise UserError(
            f"{path} lacks the column {missing[0]!r}; a table of spheres has the columns x, y and z (in mm), and may have radius "
            f"and name{found}."
        )
    seeds: list[Seed] = []
    problems: list[str] = []
    for number, (line, row) in enumerate(zip(table.lines, table.rows, strict=True), 1):
        try:
            seeds.append(read_seed(number, cells_of(table, row), [seed.name for seed in seeds]))
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    if not table.rows:
        raise UserError(f"{path} has no rows; give each sphere a row.")
    if len(problems) == 1:
        raise UserError(f"{path}, {problems[0]}.")
    if problems:
        raise UserError(f"{path} has {len(problems)} problems; correct them:\n" + "\n".join(problems))
    return seeds


def cells_of(table: Table, row: Sequence[str]) -> dict[str, str]:
    """Give the cells of a row that matter, by column; those that are not there are empty."""
    places = {name: table.columns.index(name) for name in ("x", "y", "z", "radius", "name") if name in table.columns}
    return {name: row[place].strip() if place < len(row) else "" for name, place in places.items()}


def read_seed(number: int, cells: dict[str, str], names: Sequence[str]) -> Seed:
    """Read a row; a ValueError says what is wrong with it."""
    x, y, z = (read_number(axis, cells[axis]) for axis in ("x", "y", "z"))
    radius = None
    if (given := cells.get("radius", "")) not in MISSING:
        radius = read_number("radius", given)
        if not radius > 0:
            raise ValueError(f"radius {given!r}; give a number of mm above 0, or n/a for a single voxel")
    name = cells.get("name", f"region-{number}")
    if name in MISSING:
        raise ValueError("it has no name; give each sphere one, or take the column name out")
    if name in names:
        raise ValueError(f"the name {name!r} occurs twice; make names unique")
    return Seed(number, name, (x, y, z), radius)


def read_number(column: str, text: str) -> float:
    """Read a finite number; a ValueError says what else it is."""
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column} {text!r}; give a number of mm")
    return value
