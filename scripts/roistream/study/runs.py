"""The runs table of a user's own data, and the table of runs inside a concatenated image."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from roistream.errors import UserError
from roistream.images.grids import grid_id
from roistream.images.image import Image
from roistream.images.repetition_time import RepetitionTime
from roistream.images.series import check_runs_fit, files_by_run, inspect_run
from roistream.outputs import whole_file
from roistream.paths import as_argument, reading
from roistream.study.confound_checks import ConfoundChecks
from roistream.study.repetition import Listed
from roistream.study.selections import SelectionChecks
from roistream.study.tables import read_rows
from roistream.study.times import Times, read_t_r
from roistream.tables import SEPARATOR_NAMES, SEPARATORS, find_separator


@dataclass(frozen=True)
class Run:
    """One row of a runs table.

    Attributes
    ----------
    image : str
        The image that the run becomes a part of.
    path : pathlib.Path
        A 4D NIfTI, or a single 3D volume.
    confounds : pathlib.Path or None
        Its table of confounds.
    n_volumes : int or None
        Volumes of the run, where they are known.
    t_r : float or None
        Repetition time in seconds, where it is known: what the table says, or `time`.
    time : RepetitionTime or None
        By all that says something of it, where that has been looked at.
    grid : str or None
        The name of its grid, see `roistream.images.grids.grid_id`, where it is known.
    is_volume : bool
        Whether its header says that it is a single 3D volume.
    oriented : bool
        Whether its header says where it lies, as far as that is known.
    mask : pathlib.Path or None
        Its brain mask.
    sample_mask : str
        Its volumes that are kept, as `roistream.cleaning.left_out.parse_sample_mask` reads them; empty for all.
    line : int or None
        Where it stands in the table.
    """

    image: str
    path: Path
    confounds: Path | None = None
    n_volumes: int | None = None
    t_r: float | None = None
    time: RepetitionTime | None = None
    grid: str | None = None
    is_volume: bool = False
    oriented: bool = True
    mask: Path | None = None
    sample_mask: str = ""
    line: int | None = field(default=None, compare=False)


def join_volumes(runs: Sequence[Run]) -> list[Run]:
    """Make one run of the 3D volumes of an image that follow each other, with the confounds that one of them names."""
    joined: list[Run] = []
    for run in runs:
        last = joined[-1] if joined else None
        if last and last.is_volume and run.is_volume and last.image == run.image:
            timed = run if last.t_r is None else last
            joined[-1] = replace(
                last,
                n_volumes=(last.n_volumes or 0) + (run.n_volumes or 0),
                confounds=last.confounds or run.confounds,
                mask=last.mask or run.mask,
                t_r=timed.t_r,
                time=timed.time,
            )
        else:
            joined.append(run)
    return joined


def read_runs_table(
    path: str | Path, schema: Mapping[str, Any], inspect_runs: bool = True, cleaning: Mapping[str, Any] | None = None
) -> list[Run]:
    """Read and check a runs table.

    Parameters
    ----------
    path : path
        TSV. Paths in it are absolute or relative to the table.
    schema : mapping
        JSON schema of one row: a closed object whose properties, the columns, have descriptions.
    inspect_runs : bool
        Also look whether each file exists, each run is a readable 4D image that fits the others of its image, and each
        table of confounds has a row for each volume. Of the runs only headers and sidecars are read.
    cleaning : mapping, optional
        The config key ``cleaning``, which may say the repetition time of all runs. If it asks for confounds their tables are
        read as the jobs will, values and all.

    Returns
    -------
    list of Run
        In the order of the table.

    Raises
    ------
    UserError
        All that is wrong with the table in one message: a line for each problem, with the table's line number.
    """
    path = Path(path)
    columns, rows = read_rows(path)
    check_columns(path, columns, schema)
    if not rows:
        raise UserError(f"The runs table {path} has no rows; add one for each run.")
    runs: list[Run] = []
    problems: list[str] = []
    listed = Listed(by_content=inspect_runs)
    first_images: dict[str, Image] = {}
    confounds = ConfoundChecks(cleaning or {}, "confounds" in columns)
    times, selections = Times((cleaning or {}).get("t_r")), SelectionChecks()
    for line, row, found in check_rows(columns, rows, schema):
        if row.get("run"):
            run = replace(as_run(row, path.parent), line=line)
            try:
                run = replace(run, t_r=read_t_r(row.get("t_r", "")))
            except ValueError:
                found.append(f"t_r {row['t_r']!r} must be {schema['properties']['t_r']['description']}")
            repeated = listed.run(line, run.image, run.path)
            if repeated:
                found.append(repeated)
            elif inspect_runs:
                run, more = look_at_run(run, first_images, confounds, times, selections)
                found += [*more, *listed.confounds(line, run.image, run.path, run.confounds, run.is_volume)]
            runs.append(run)
        problems += [f"line {line}: {problem.rstrip('.')}" for problem in found]
    # What is wrong with the columns of all tables is put down to the line of the header.
    problems += [f"line 1: {problem.rstrip('.')}" for problem in confounds.finish()]
    if problems:
        number = "1 problem; correct it" if len(problems) == 1 else f"{len(problems)} problems; correct them"
        raise UserError(f"The runs table {path} has {number}:\n" + "\n".join(problems))
    listed.tell_shared_confounds(path)
    return runs


def check_columns(path: Path, columns: Sequence[str], schema: Mapping[str, Any]) -> None:
    """Refuse a runs table whose columns are not those of its schema."""
    required, known = schema["required"], schema["properties"]
    if missing := [column for column in required if column not in columns]:
        found = f"lacks the column {missing[0]!r}{other_separator(columns)}"
    elif unknown := [column for column in columns if column not in known]:
        found = f"has an unknown column {unknown[0]!r}"
    elif twice := [column for column in columns if columns.count(column) > 1]:
        found = f"has the column {twice[0]!r} twice"
    else:
        return
    optional = [column for column in known if column not in required]
    raise UserError(
        f"The runs table {path} {found}; its columns are {', '.join(required)} and optionally {', '.join(optional)}, "
        "tab-separated."
    )


def other_separator(columns: Sequence[str]) -> str:
    """Word what separates columns in place of tabs, if they look like one column."""
    separator = find_separator([*columns, *columns], SEPARATORS) if len(columns) == 1 else ""
    return f" (it is separated by {SEPARATOR_NAMES[separator]})" if separator else ""


def check_rows(
    columns: Sequence[str], rows: Sequence[tuple[int, list[str]]], schema: Mapping[str, Any]
) -> Iterator[tuple[int, dict[str, str], list[str]]]:
    """Hold each row against the schema; give its line, its values by column, and what is wrong with them."""
    from jsonschema import Draft202012Validator  # slow to import, and of no use to the programs that extract

    validator = Draft202012Validator(schema)
    for line, values in rows:
        if len(values) != len(columns):
            yield line, {}, [f"{len(columns)} columns expected, found {len(values)}"]
            continue
        row = dict(zip(columns, values, strict=True))
        wrong = dict.fromkeys(str(error.absolute_path[0]) for error in validator.iter_errors(row))
        yield line, row, [f"{key} {row[key]!r} must be {schema['properties'][key]['description']}" for key in wrong]


def as_run(row: Mapping[str, str], folder: Path) -> Run:
    """Turn a row into a run; paths are relative to `folder`."""
    named = {key: row.get(key, "") for key in ("confounds", "mask", "sample_mask")}
    named = {key: "" if value == "n/a" else value for key, value in named.items()}
    table, mask = (as_argument(folder / named[key]) if named[key] else None for key in ("confounds", "mask"))
    return Run(row["image"], as_argument(folder / row["run"]), table, mask=mask, sample_mask=named["sample_mask"])


def look_at_run(
    run: Run,
    first_images: dict[str, Image],
    confounds: ConfoundChecks,
    times: Times,
    selections: SelectionChecks,
) -> tuple[Run, list[str]]:
    """Look at the files of a run.

    Parameters
    ----------
    run : Run
        The run.
    first_images : dict
        The first readable run of each image, against which later ones are held; filled here.
    confounds : ConfoundChecks
        Looks at the table of confounds.
    times : Times
        Finds and compares the TRs.
    selections : SelectionChecks
        Looks at masks.

    Returns
    -------
    run : Run
        With what its header says.
    problems : list of str
        What is wrong.
    """
    problems = []
    try:
        image = inspect_run(run.path)
        time = times.find(image, run.t_r)
        run = replace(
            run,
            n_volumes=image.n_volumes,
            t_r=time.seconds,
            time=time,
            grid=grid_id(image.grid, image.affine),
            is_volume=image.is_volume,
            oriented=image.oriented,
        )
        check_runs_fit([first_images.setdefault(run.image, image), image])
        selections.look(run, image)
        times.check(run.image, run.path, time)
    except UserError as error:
        problems.append(str(error))
    try:
        confounds.look(run)
    except UserError as error:
        problems.append(str(error))
    return run, problems


def write_run_lengths(files: Sequence[Image], path: str | Path) -> None:
    """Write where each run lies in the concatenated image: columns ``run``, ``first_volume``, ``n_volumes``.

    3D files next to each other are one run, which has the name of the first.
    """
    with (
        whole_file(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream,
    ):
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["run", "first_volume", "n_volumes"])
        first_volume = 0
        for run in files_by_run(files):
            n_volumes = sum(file.n_volumes for file in run)
            writer.writerow([run[0].path, first_volume, n_volumes])
            first_volume += n_volumes


def read_run_lengths(path: str | Path) -> list[int]:
    """Read the number of volumes of each run from what `write_run_lengths` wrote."""
    try:
        with reading(path), Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            return [int(row["n_volumes"]) for row in csv.DictReader(stream, delimiter="\t")]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no table of runs ({error}); give the runs.tsv of the concatenated image."
        ) from error
