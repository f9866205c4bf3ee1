"""Fit the options of signal cleaning to an image, and refuse what is not possible for it.

Tables of confounds are another matter (`roistream.cleaning.confounds`), which is imported only where there are some.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roistream.cleaning.left_out import LeftOut, join_left_out, span
from roistream.cleaning.options import Cleaning
from roistream.errors import UserError
from roistream.images.image import Image
from roistream.images.repetition_time import RepetitionTime, warn
from roistream.images.series import Series, repetition_time

if TYPE_CHECKING:
    from roistream.cleaning.confounds import Confounds
    from roistream.cleaning.rank import Removal

logger = logging.getLogger("roistream")


def prepare_cleaning(
    image: Image | Series,
    options: dict,
    run_lengths: Sequence[int] | None = None,
    confounds: Sequence[Path] | Sequence[Confounds] = (),
    confound_columns: Sequence[str] | None = None,
    unmatched_patterns: str = "error",
    left_out: Sequence[LeftOut] = (),
) -> Cleaning:
    """Fit cleaning options to an image, and check that they are possible for it.

    Parameters
    ----------
    image : Image or Series
        The image to clean.
    options : dict
        Attributes of `Cleaning` that a user chooses. Without a ``t_r`` that of sidecars or headers is taken; what
        is odd about it is told.
    run_lengths : sequence of int, optional
        Volumes of each run of a concatenated image, to clean each by itself.
    confounds : sequence of path or of Confounds
        One table for each run, in order, or one for all: TSV or CSV with a header, one row for each volume; or what has been
        read of them.
    confound_columns : sequence of str, optional
        The columns to use, by name or pattern, see `roistream.cleaning.confounds.select_columns`; by default all.
    unmatched_patterns : {"error", "warn"}
        What to do with a pattern that matches no column of these tables.
    left_out : sequence of LeftOut
        The volumes of each run that are left out.

    Returns
    -------
    Cleaning
        Complete.

    Raises
    ------
    UserError
        The options are impossible for this image, or a table does not fit it.
    """
    time = repetition_time(image.runs, options.get("t_r"), options.get("t_r_source"))
    warn(time)
    options = {**options, "t_r": time.seconds, "t_r_source": time.source, "t_r_remarks": time.remarks}
    if confound_columns is not None and not confounds:
        raise UserError("confound_columns chooses columns of the confounds, but no tables of confounds are given.")
    tables: Sequence[Confounds] = []
    if confounds:
        from roistream.cleaning.confounds import Confounds, read_confounds

        read = [table for table in confounds if isinstance(table, Confounds)]
        files = [table for table in confounds if not isinstance(table, Confounds)]
        tables = read or read_confounds(files, confound_columns, unmatched_patterns)
    listed, n_rows = ", ".join(str(table.path) for table in tables), [len(table.values) for table in tables]
    if tables and sum(n_rows) != image.n_volumes:
        raise UserError(
            f"The confounds {listed} have {sum(n_rows)} rows, but {image.path} has {image.n_volumes} volumes."
        )
    if run_lengths is not None and sum(run_lengths) != image.n_volumes:
        raise UserError(
            f"The table of runs counts {sum(run_lengths)} volumes, but {image.path} has {image.n_volumes}; "
            "give the runs.tsv written with this image."
        )
    if run_lengths is not None and len(tables) > 1 and n_rows != list(run_lengths):
        raise UserError(
            f"The confounds {listed} have {', '.join(map(str, n_rows))} rows, but the runs of {image.path} "
            f"have {', '.join(map(str, run_lengths))} volumes; give one table for each run, in the order of the runs."
        )
    lengths = [image.n_volumes] if run_lengths is None else list(run_lengths)
    several = len(lengths) > 1
    runs = np.repeat(np.arange(len(lengths)), lengths) if several else None
    matrix = join_confounds(tables, by_run=several)
    left_out = left_out if several or not left_out else [join_left_out(left_out)]
    if not any(part.volumes for part in left_out):
        left_out = []
    alone = several and (bool(left_out) or len({len(table.names) for table in tables}) > 1)
    cleaning = Cleaning(
        **options,
        confounds=matrix,
        runs=runs,
        run_confounds=split_confounds(tables, lengths) if alone else (),
        left_out=tuple(left_out),
    )
    shortest = min(lengths)
    check_filter(cleaning.low_pass, cleaning.high_pass, time, min([shortest, *map(span, left_out)]), image.path)
    shortest = min([shortest, *(part.kept.size for part in left_out)])
    if not cleaning.standardize_confounds and matrix is not None and runs is not None:
        # nilearn.signal.clean loses this option on its way to the single run (0.13.1, _process_runs).
        raise UserError(
            "standardize_confounds: false has no effect in nilearn when runs are cleaned each by itself; "
            "leave it out, or set per_run: false."
        )
    if cleaning.standardize and shortest <= 1 + cleaning.detrend:
        logger.warning(
            "%s has a run of %d volume(s): nothing is left to standardise, and what comes out is 0 or rounding error.",
            image.path,
            shortest,
        )
    return replace(cleaning, removals=look_at_parts(tables, lengths, cleaning))


def join_confounds(tables: Sequence[Confounds], by_run: bool) -> np.ndarray | None:
    """Put the confounds of all runs one below the other; None if there are none.

    Parameters
    ----------
    tables : sequence of Confounds
        One for each run, or one for all.
    by_run : bool
        Each run is cleaned by itself, so that each may have confounds of its own. Else all must have the same.

    Raises
    ------
    UserError
        Runs that are cleaned as one have different confounds.
    """
    if not by_run and tables:
        from roistream.cleaning.confounds import refuse_other_columns

        refuse_other_columns(tables)
    width = max((len(table.names) for table in tables), default=0)
    if not width:
        return None
    return np.concatenate([np.pad(table.values, ((0, 0), (0, width - len(table.names)))) for table in tables])


def split_confounds(tables: Sequence[Confounds], lengths: Sequence[int]) -> tuple[np.ndarray | None, ...]:
    """Give the confounds of each run, of one table for each or one for all; None for a run without any."""
    values = [table.values for table in tables] or [np.empty((sum(lengths), 0))]
    if len(values) < len(lengths):
        values = np.split(values[0], np.cumsum(lengths)[:-1])
    return tuple(of_run if of_run.shape[1] else None for of_run in values)


def look_at_parts(tables: Sequence[Confounds], lengths: Sequence[int], cleaning: Cleaning) -> tuple[Removal, ...]:
    """Find out, and tell, what confounds take from each part of an image that is cleaned by itself, and what of them is nothing.

    Raises
    ------
    UserError
        They leave nothing.
    """
    if cleaning.confounds is None:
        return ()
    from roistream.cleaning.rank import look_at_confounds, refuse_nothing_left, tell_confounds

    removals, firsts = [], np.cumsum([0, *lengths]).tolist()
    for number, (first, end) in enumerate(pairwise(firsts)):
        table = tables[number] if len(tables) == len(lengths) else tables[0]
        values = cleaning.confounds[first:end, : len(table.names)]
        if cleaning.left_out:
            values = values[cleaning.left_out[number].kept]
        removal = look_at_confounds(values, table.names, str(table.path), cleaning.parameters())
        refuse_nothing_left(removal)
        removals.append(removal)
    tell_confounds(removals)
    return tuple(removals)


def check_filter(
    low_pass: float | None, high_pass: float | None, time: RepetitionTime, n_volumes: int, image: str | Path
) -> None:
    """Refuse a filter that is impossible for a run.

    Parameters
    ----------
    low_pass, high_pass : float, optional
        Cut-off frequencies in Hz.
    time : RepetitionTime
        The run's.
    n_volumes : int
        Volumes of the shortest run.
    image : str or path
        What the message calls the run or image.

    Raises
    ------
    UserError
        No TR to rely on, a frequency that the TR does not resolve, or too few volumes.
    """
    if low_pass is None and high_pass is None:
        return
    if time.problem or time.seconds is None:
        raise UserError(
            f"{image} cannot be filtered without a TR to rely on: {time.problem}; "
            "give the right one in seconds, as 't_r' of the cleaning (--t-r) or in the column t_r of the runs table."
        )
    for name, frequency in (("low_pass", low_pass), ("high_pass", high_pass)):
        if frequency is not None and frequency >= 0.5 / time.seconds:
            raise UserError(
                f"{name} {frequency} Hz is not below half the sampling rate of {image}, {0.5 / time.seconds:.4g} Hz at a TR of "
                f"{time.seconds:g} s ({time.source}); lower it."
            )
    if n_volumes <= shortest_filtered(low_pass, high_pass):
        raise UserError(
            f"{image} has a run of {n_volumes} volumes, too short for the filter, which needs "
            f"{shortest_filtered(low_pass, high_pass) + 1}; leave out low_pass and high_pass, or the run."
        )


def shortest_filtered(low_pass: float | None, high_pass: float | None) -> int:
    """Tell how many volumes are still too few to be filtered.

    nilearn uses a Butterworth filter of order 5, twice that for a band, and ``scipy.signal.filtfilt``, which extends the
    signal at both ends by three times the number of the filter's coefficients and needs more volumes than that.
    """
    if low_pass is None and high_pass is None:
        return 0
    order = 5 if low_pass is None or high_pass is None else 10
    return 3 * (order + 1)
