"""The runs table of a user's own data, and the table of runs inside a concatenated image."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roistream.errors import UserError
from roistream.outputs import whole_file
from roistream.volumes import Image, inspect

REQUIRED_COLUMNS = ("image", "run")
OPTIONAL_COLUMNS = ("confounds",)
IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""An image's name becomes a folder and a part of file names."""


@dataclass(frozen=True)
class Run:
    """One row of a runs table.

    Attributes
    ----------
    image : str
        The image that the run becomes a part of.
    path : pathlib.Path
        A 4D NIfTI.
    confounds : pathlib.Path or None
        Its table of confounds.
    n_volumes : int or None
        Volumes of the run, where they are known.
    t_r : float or None
        Repetition time in seconds, where it is known.
    """

    image: str
    path: Path
    confounds: Path | None = None
    n_volumes: int | None = None
    t_r: float | None = None


def read_runs_table(path: str | Path, inspect_files: bool = True) -> list[Run]:
    """Read and check a runs table.

    Parameters
    ----------
    path : path
        TSV with columns ``image``, ``run`` and optionally ``confounds``. Paths in it are absolute or relative to the table.
    inspect_files : bool
        Also look whether each file exists and each run is a readable 4D image.

    Returns
    -------
    list of Run
        In the order of the table.

    Raises
    ------
    UserError
        All that is wrong with the table, with line numbers, in one message.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, delimiter="\t", strict=True)
            columns = tuple(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise UserError(f"The runs table {path} does not exist; check the config key 'dataset'.") from None
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(
            f"The runs table {path} is not readable as tab-separated text ({error}); save it as TSV."
        ) from error
    unknown = [column for column in columns if column not in REQUIRED_COLUMNS + OPTIONAL_COLUMNS]
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    if missing or unknown:
        found = f"lacks the column {missing[0]!r}" if missing else f"has an unknown column {unknown[0]!r}"
        raise UserError(
            f"The runs table {path} {found}; its columns are image, run and optionally confounds, tab-separated."
        )
    if not rows:
        raise UserError(f"The runs table {path} has no rows; add one for each run.")
    runs: list[Run] = []
    problems: list[str] = []
    first_seen: dict[tuple[str, Path], int] = {}
    for line, row in rows:
        if None in row or None in row.values():
            problems.append(f"line {line}: {len(columns)} columns expected")
            continue
        run = Run(
            row["image"].strip(),
            path.parent / row["run"].strip(),
            path.parent / row["confounds"].strip() if row.get("confounds", "").strip() not in ("", "n/a") else None,
        )
        if not IMAGE_NAME.fullmatch(run.image):
            problems.append(
                f"line {line}: image {run.image!r} is no name for a folder (letters, digits, '_', '-', '.')"
            )
        if inspect_files:
            try:
                found = inspect(run.path)
                run = replace(run, n_volumes=found.n_volumes, t_r=found.t_r)
            except UserError as error:
                problems.append(f"line {line}: {str(error).rstrip('.')}")
            if run.confounds is not None and not run.confounds.is_file():
                problems.append(f"line {line}: {run.confounds} does not exist; check the path")
        runs.append(run)
        before = first_seen.setdefault((run.image, run.path), line)
        if before != line:
            problems.append(f"line {line}: {run.path} is already a run of {run.image!r} in line {before}")
    if problems:
        raise UserError(f"The runs table {path} has {len(problems)} problem(s); correct them: " + "; ".join(problems))
    return runs


def check_runs_fit(runs: Sequence[Image]) -> None:
    """Refuse runs that cannot be parts of one image.

    Raises
    ------
    UserError
        A run's grid, affine or TR differs from the first one's; names both files and the difference.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.grid != first.grid:
            difference = f"the grid {run.grid} against {first.grid}"
        elif abs(run.affine - first.affine).max() > 1e-3:  # mm: a thousandth of a voxel, above any rounding to float32
            difference = f"another affine, by up to {abs(run.affine - first.affine).max():.4g} mm"
        elif (run.t_r is None) != (first.t_r is None) or abs((run.t_r or 0) - (first.t_r or 0)) > 1e-4:
            difference = f"TR {tell_t_r(run)} against {tell_t_r(first)}"
        else:
            continue
        raise UserError(
            f"{run.path} does not fit {first.path}: {difference}; resample it, or make it an image of its own."
        )


def tell_t_r(run: Image) -> str:
    """Word a run's TR."""
    return "unset" if run.t_r is None else f"{run.t_r} s"


def write_run_lengths(runs: Sequence[Image], path: str | Path) -> None:
    """Write where each run lies in the concatenated image: columns ``run``, ``first_volume``, ``n_volumes``."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["run", "first_volume", "n_volumes"])
        first_volume = 0
        for run in runs:
            writer.writerow([run.path, first_volume, run.n_volumes])
            first_volume += run.n_volumes


def read_run_lengths(path: str | Path) -> list[int]:
    """Read the number of volumes of each run from what `write_run_lengths` wrote."""
    try:
        with Path(path).open(newline="", encoding="utf-8") as stream:
            return [int(row["n_volumes"]) for row in csv.DictReader(stream, delimiter="\t")]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no table of runs ({error}); give the runs.tsv of the concatenated image."
        ) from error
