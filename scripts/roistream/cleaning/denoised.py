"""What an image is denoised with: the confounds of each run, and which of its volumes are left out and why."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roistream.cleaning.denoising import check_strategy, find_table, load_strategy
from roistream.cleaning.left_out import SCRUBBED, STEADY, LeftOut, beyond, outside_of, parse_sample_mask
from roistream.errors import UserError
from roistream.images.series import Series, files_by_run

if TYPE_CHECKING:
    from roistream.cleaning.confounds import Confounds
    from roistream.tables import Table

DISPLACEMENT = "framewise_displacement"

logger = logging.getLogger("roistream")


@dataclass(frozen=True)
class Denoised:
    """The confounds of an image, and the volumes that are left out.

    Attributes
    ----------
    tables : list of Confounds
        One for each run, or one for all; none without any.
    left_out : list of LeftOut
        One for each run.
    displacement : float or None
        Mean framewise displacement in mm, over all volumes that have one, where the tables tell.
    """

    tables: list[Confounds]
    left_out: list[LeftOut]
    displacement: float | None = None


def denoise(
    source: Series,
    options: Mapping[str, Any],
    confounds: Sequence[Path] = (),
    confound_columns: Sequence[str] | None = None,
    unmatched_patterns: str = "error",
    sample_masks: Sequence[str] = (),
) -> Denoised:
    """Read confounds, and find out which volumes are left out.

    Parameters
    ----------
    source : Series
        The runs.
    options : mapping
        All options of cleaning. Used are ``strategy`` and its options (see `roistream.cleaning.denoising`), ``drop_first`` and
        ``leave_out_above``.
    confounds, confound_columns, unmatched_patterns
        See `roistream.cleaning.confounds.read_confounds`; without a strategy.
    sample_masks : sequence of str
        For each run the volumes that are kept, see `roistream.cleaning.left_out.parse_sample_mask`.

    Raises
    ------
    UserError
        Options contradict each other, a table is not what is needed, or all volumes of a run are left out.
    """
    check_strategy({**options, "confounds": bool(confounds), "confound_columns": confound_columns})
    lengths, firsts = source.run_lengths, [files[0].path for files in files_by_run(source.runs)]
    if sample_masks and len(sample_masks) != len(lengths):
        raise UserError(
            f"{len(sample_masks)} sample masks are given for {len(lengths)} runs; give one for each, or 'all'."
        )
    strategy = options.get("strategy")
    paths = [find_table(run, strategy) for run in firsts] if strategy else list(confounds)
    raw: list[Table] = []
    if paths:
        from roistream.cleaning.confounds import choose_confounds, parse_confounds

        raw = [parse_confounds(path) for path in paths]
    reasons: list[dict[str, tuple[int, ...]]] = [{} for _ in lengths]
    if first := options.get("drop_first"):
        for of_run, length in zip(reasons, lengths, strict=True):
            of_run["drop_first"] = tuple(range(min(first, length)))
    for of_run, text, length, run in zip(reasons, sample_masks, lengths, firsts, strict=False):
        of_run["sample_mask"] = outside_of(parse_sample_mask(text), length, f"The sample mask of {run}")
    for column, threshold in (options.get("leave_out_above") or {}).items():
        for of_run, values in zip(reasons, measures(raw, column, lengths, "leave_out_above"), strict=True):
            of_run[f"{column} > {threshold:g}"] = beyond(values, threshold)
    if strategy:
        tables, masks = zip(*(load_strategy(run, strategy, options) for run in firsts), strict=True)
        for of_run, table, sample_mask, length in zip(reasons, raw, masks, lengths, strict=True):
            if len(table.rows) != length:
                raise UserError(
                    f"The confounds {table.path} have {len(table.rows)} rows, but their run has {length} volumes; "
                    "give the table of this run."
                )
            of_run |= explain(outside_of(sample_mask, length, f"The strategy {strategy}"), table)
    else:
        tables = choose_confounds(raw, confound_columns, unmatched_patterns) if raw else []
    left_out = [
        LeftOut(length, {reason: volumes for reason, volumes in of_run.items() if volumes})
        for length, of_run in zip(lengths, reasons, strict=True)
    ]
    for run, part in zip(firsts, left_out, strict=True):
        tell_left_out(run, part)
    return Denoised(list(tables), left_out, mean_displacement(raw))


def mean_displacement(tables: Sequence[Table]) -> float | None:
    """Average the framewise displacement over all volumes that have one; None where a table does not tell."""
    if not tables:
        return None
    from roistream.cleaning.confounds import take_measure

    try:
        values = [take_measure(table, DISPLACEMENT, DISPLACEMENT) for table in tables]
    except UserError:  # nobody has asked for this column: it may not be there, or hold anything
        return None
    known = np.concatenate([np.empty(0), *values])
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else None


def measures(tables: Sequence[Table], column: str, lengths: Sequence[int], key: str) -> list[np.ndarray]:
    """Read a column for each run, of one table for each or one for all; NaN where a value is missing."""
    if not tables:
        raise UserError(f"{key} looks at the column {column!r} of the confounds, but no tables of confounds are given.")
    from roistream.cleaning.confounds import take_measure

    values = np.concatenate([take_measure(table, column, key) for table in tables])
    if len(values) != sum(lengths):
        listed = ", ".join(str(table.path) for table in tables)
        raise UserError(f"The confounds {listed} have {len(values)} rows, but the runs have {sum(lengths)} volumes.")
    return np.split(values, np.cumsum(lengths)[:-1])


def explain(volumes: Sequence[int], table: Table) -> dict[str, tuple[int, ...]]:
    """Tell which of the volumes that a strategy leaves out have not reached a steady state; the others are scrubbed."""
    from roistream.cleaning.confounds import take_measure

    marks = [name for name in table.columns if "non_steady_state" in name]
    marked = sum((take_measure(table, name, name) != 0 for name in marks), np.zeros(len(table.rows), bool))
    unsteady = set(np.flatnonzero(marked).tolist())
    return {
        STEADY: tuple(volume for volume in volumes if volume in unsteady),
        SCRUBBED: tuple(volume for volume in volumes if volume not in unsteady),
    }


def tell_left_out(run: Path, part: LeftOut) -> None:
    """Tell in the log how many volumes of a run are left out and why; refuse a run of which nothing is kept."""
    if not part.volumes:
        return
    why = ", ".join(f"{reason} {len(volumes)}" for reason, volumes in part.reasons.items())
    if not part.kept.size:
        raise UserError(f"All {part.n_volumes} volumes of {run} would be left out ({why}); leave out the run.")
    logger.info("%s: %d of %d volumes are left out (%s).", run, len(part.volumes), part.n_volumes, why)


def check_enough(runs: Sequence[Path], left_out: Sequence[LeftOut], least: int | None, too_few: str) -> list[str]:
    """Word which runs keep fewer volumes than `least`; refuse them unless `too_few` is ``mark``.

    Returns
    -------
    list of str
        A sentence for each, without a full stop.
    """
    short = [
        f"{run} keeps {part.kept.size} of {part.n_volumes} volumes, fewer than min_volumes, {least}"
        for run, part in zip(runs, left_out, strict=True)
        if least and part.kept.size < least
    ]
    if short and too_few == "error":
        raise UserError(f"{short[0]}; leave out the run, or set too_few_volumes: mark.")
    for sentence in short:
        logger.warning("%s.", sentence)
    return short
