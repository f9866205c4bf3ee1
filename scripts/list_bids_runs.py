#!/usr/bin/env python3
"""List the runs of BIDS datasets, raw or preprocessed by fMRIPrep, as a runs table.

A program of its own, before the workflow: python scripts/list_bids_runs.py --help

Each run is an image of its own, called as its file is, unless runs are concatenated; `roistream.study.bids` tells which files
are runs, and refuses to mix versions of them.
"""

import argparse
import csv
import logging
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.errors import UserError
from roistream.images.repetition_time import SILENCE, RepetitionTime, group, name_files, settle
from roistream.images.sidecars import Sidecars
from roistream.outputs import whole_file
from roistream.paths import absolute
from roistream.reporting import reporting
from roistream.study.names import ACQUISITION, NO_VALUE, VERSIONS
from roistream.study.pipelines import find_runs

logger = logging.getLogger("roistream")


def list_bids_runs(
    datasets: Path | Sequence[Path],
    out: Path | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    concatenate: Collection[str] = (),
    with_confounds: bool = True,
    with_masks: bool = True,
    leave_out_incomplete: bool = False,
    pipelines: Sequence[str] = (),
) -> None:
    """Write the runs table of one or several BIDS datasets.

    Parameters
    ----------
    datasets : path or sequence of path
        Raw datasets, or folders of derivatives with fMRIPrep's file names; a ``dataset_description.json`` is not needed.
    out : path, optional
        TSV to write: ``image``, ``run`` and, where there are any, ``confounds``, ``mask`` (the run's ``desc-brain_mask``) and
        ``t_r``, from the JSON sidecars. Paths are relative to the table if the dataset lies below the table's folder, else
        absolute. By default stdout, with absolute paths.
    filters : mapping, optional
        The values wanted of an entity, with or without its prefix; ``none`` stands for files without the entity.
    concatenate : collection of str
        Entities that tell the parts of one image from each other, such as ``run``: files that differ in nothing else become
        one image, in the natural order of these entities.
    with_confounds : bool
        Give each run its table of confounds, if the dataset has such tables.
    with_masks : bool
        Give each run its brain mask, where there is one.
    leave_out_incomplete : bool
        Leave out runs without a table of confounds where others have one, and name them in the log, instead of an error.
    pipelines : sequence of str
        What the images of several datasets are called by, see `roistream.study.pipelines.find_runs`.

    Raises
    ------
    UserError
        There are no such files, a filter matches nothing, versions would be mixed, or a run's confounds are not clear.
    """
    datasets = [datasets] if isinstance(datasets, Path) else datasets
    how = (filters, concatenate, with_confounds, with_masks, leave_out_incomplete)
    runs = find_runs(datasets, pipelines, *how)
    folder = out and absolute(out).parent
    columns: dict[str, list[Any]] = {
        "image": [run.image for run in runs],
        "run": [locate(run.path, folder) for run in runs],
        "confounds": [run.confounds and locate(run.confounds, folder) for run in runs],
        "mask": [run.mask and locate(run.mask, folder) for run in runs],
        "t_r": [time.seconds for time in find_times([run.path for run in runs])],
    }
    columns = {name: values for name, values in columns.items() if any(values)}
    rows = [
        list(columns),
        *(["n/a" if value is None else str(value) for value in row] for row in zip(*columns.values(), strict=True)),
    ]
    if out is None:
        write_rows(rows, sys.stdout)
    else:
        with whole_file(out) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
            write_rows(rows, stream)
    absent = [run.path for run in runs if not run.path.exists()]
    if absent:
        logger.warning(
            "%d run(s) have no content here, a link leads nowhere; fetch it (datalad get), the first is %s.",
            *(len(absent), absent[0]),
        )
    logger.info("%d run(s) of %d image(s).", len(runs), len({run.image for run in runs}))


def find_times(runs: Sequence[Path]) -> list[RepetitionTime]:
    """Find what the sidecars say of the TRs of runs, and tell where that cannot be used."""
    sidecars = Sidecars()
    times = [settle(sidecars.say(run)) for run in runs]
    unclear = [(run, time) for run, time in zip(runs, times, strict=True) if time.problem != SILENCE]
    for text, files in group(unclear, lambda time: time.remarks):
        logger.warning("TR of %s: %s; t_r is n/a.", name_files(files), text)
    return times


def locate(path: Path, folder: Path | None) -> str:
    """Word a path for a table in `folder`: relative if it lies below it, so that they can be moved together."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(f"{str(path)!a} is no text in UTF-8, which a table could hold; rename it.") from None
    if not folder or not path.is_relative_to(folder):
        return str(path)
    inside = str(path.relative_to(folder))
    return inside if inside.strip() == inside else f"./{inside}"  # what is read from a table is stripped of blanks


def write_rows(rows: Iterable[Sequence[str]], stream: TextIO) -> None:
    """Write a TSV."""
    csv.writer(stream, delimiter="\t", lineterminator="\n").writerows(rows)


def parse_arguments() -> dict:
    """Read the command line into the parameters of `list_bids_runs`."""
    parser = argparse.ArgumentParser(description="List the runs of BIDS datasets, raw or of fMRIPrep, as a runs table.")
    parser.add_argument(
        "datasets",
        type=Path,
        nargs="+",
        metavar="BIDS_DIR",
        help="the folder that holds sub-*; several, if pipelines are compared",
    )
    parser.add_argument("--out", type=Path, help="TSV to write (default: stdout)")
    parser.add_argument(
        "--concatenate",
        nargs="+",
        choices=list(ACQUISITION),
        default=(),
        metavar="ENTITY",
        help=f"files that differ in nothing else become one image, in this order: {', '.join(ACQUISITION)}",
    )
    parser.add_argument(
        "--no-confounds", dest="with_confounds", action="store_false", help="leave out the tables of confounds"
    )
    parser.add_argument(
        "--no-masks",
        dest="with_masks",
        action="store_false",
        help="leave out the brain masks: regions are not restricted",
    )
    parser.add_argument(
        "--leave-out-incomplete",
        action="store_true",
        help="leave out runs that have no table of confounds where others have one; each is named in the log",
    )
    parser.add_argument(
        "--pipelines",
        nargs="+",
        default=(),
        metavar="NAME",
        help="what the images of several folders are called by, in their order (default: the folders' names)",
    )
    filters = parser.add_argument_group("filters", f"the values wanted; '{NO_VALUE}' for files without the entity")
    for entity in (*ACQUISITION, *VERSIONS):
        filters.add_argument(f"--{entity}", nargs="+", metavar="VALUE")
    arguments = vars(parser.parse_args())
    given = {entity: arguments.pop(entity) for entity in (*ACQUISITION, *VERSIONS)}
    arguments["filters"] = {entity: values for entity, values in given.items() if values}
    return arguments


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting():
        list_bids_runs(**arguments)
