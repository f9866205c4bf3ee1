"""Figures out of the rows of an experiment, and how they are worded."""

from collections.abc import Iterable, Sequence
from statistics import median

FLOORS = ("igzip -dc", "gzip -dc")
"""Programs that only decompress, the faster one first."""


def middle(row: dict, key: str) -> float:
    """Give the median of the repeats; 0 for what was too short for a look at its memory."""
    return median(run[key] or 0.0 for run in row["runs"])


def spread(row: dict, key: str) -> str:
    """Word median and range of the repeats; the unit is the key's."""
    values = [run[key] or 0.0 for run in row["runs"]]
    word = seconds if key == "wall_s" else mebibytes
    return word(median(values)) + (f" ({word(min(values))}–{word(max(values))})" if len(values) > 1 else "")


def mebibytes(value: float) -> str:
    """Round a size in MiB for reading."""
    return f"{value:,.0f}" if value >= 200 else f"{value:.1f}"


def seconds(value: float) -> str:
    """Round a time in seconds for reading."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def named(rows: Iterable[dict]) -> dict[str, dict]:
    """Give the rows of an experiment by their names."""
    return {row["name"]: row for row in rows}


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Word a table in Markdown, the first column to the left, numbers to the right."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    numeric = [number > 0 and all(row[number][:1].isdigit() for row in rows) for number in range(len(columns))]
    rule = ["---:" if right else "---" for right in numeric]
    return "".join(f"| {' | '.join(row)} |\n" for row in [columns, rule, *rows])


def code(name: str) -> str:
    """Set a name of the program in its own type."""
    return f"`{name}`"
