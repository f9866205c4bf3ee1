"""The runs table of a user's own data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from roistream.errors import UserError
from roistream.images.grids import grid_id
from roistream.images.image import Image
from roistream.images.series import check_runs_fit, inspect_run
from roistream.paths import as_argument
from roistream.study.confound_checks import ConfoundChecks
from roistream.study.repetition import Listed
from roistream.study.run import Run
from roistream.study.selections import SelectionChecks
from roistream.study.tables import read_rows
from roistream.study.times import Times, read_t_r
from roistream.tables import SEPARATOR_NAMES, SEPARATORS, find_separator


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
