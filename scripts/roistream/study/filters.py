"""Before any job: what is odd about the TRs of the runs, and which runs a filter cannot take."""

import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from roistream.cleaning.prepare import check_filter
from roistream.errors import UserError
from roistream.images.repetition_time import group, name_files
from roistream.study.run import Run

logger = logging.getLogger("roistream")


def check_filters(cleaning: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Refuse filters that some runs cannot take.

    Parameters
    ----------
    cleaning : mapping
        The config key ``cleaning``.
    runs : sequence of Run
        All runs; those that have not been looked at are left to the jobs that read them.

    Raises
    ------
    UserError
        All of these runs in one message, by their lines in the table.
    """
    low_pass, high_pass = cleaning.get("low_pass"), cleaning.get("high_pass")
    lengths: dict[str, int] = {}
    for run in runs:
        lengths[run.image] = lengths.get(run.image, 0) + (run.n_volumes or 0)
    problems = []
    for run in runs:
        if run.time is None or not run.n_volumes:
            continue
        n_volumes = run.n_volumes if cleaning.get("per_run", True) else lengths[run.image]
        try:
            check_filter(low_pass, high_pass, run.time, n_volumes, run.path)
        except UserError as error:
            place = f"line {run.line}: " if run.line else ""
            problems.append(f"{place}{str(error).rstrip('.')}")
    if problems:
        number = "1 run" if len(problems) == 1 else f"{len(problems)} runs"
        raise UserError(f"cleaning: the filter cannot take {number}; correct them:\n" + "\n".join(problems))


def tell_times(runs: Sequence[Run]) -> None:
    """Tell in the log what a person should know of the TRs of runs, a sentence for each thing that is odd."""
    times = [(run, run.time) for run in runs if run.time is not None]
    for text, found in group(times, lambda time: time.remarks):
        logger.warning("TR of %s%s: %s.", name_files([run.path for run in found]), name_lines(found), text)


def name_lines(runs: Sequence[Run]) -> str:
    """Tell where runs stand in their table, those one after the other as a range; nothing for those of no table."""
    lines = [run.line for run in runs if run.line]
    ranges = [[line for _, line in block] for _, block in groupby(enumerate(lines), lambda entry: entry[1] - entry[0])]
    words = [f"{block[0]}-{block[-1]}" if len(block) > 1 else str(block[0]) for block in ranges]
    return f" (line{'s' * (len(lines) > 1)} {', '.join(words)})" if words else ""
