"""Where the repetition time (TR) of a run comes from, and whether a filter may rely on it.

Four sources may say it, the most explicit first: the runs table, of one run; the option ``t_r``, of all runs; the JSON sidecar,
which the converter or the pipeline wrote; the header, whose number many tools neither keep nor check. The first that says
anything is taken. What another one says against it, and what cannot be a TR, is told. A filter takes the word of a person (table
or option) whatever the others say; it does not take one of sidecar and header that contradict each other, nor a number without
a unit.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roistream.errors import UserError

logger = logging.getLogger("roistream")

SHORTEST, LONGEST = 0.05, 30.0
"""Seconds between which every TR of fMRI lies."""

PER_SECOND = {8: 1, 16: 1000, 24: 1_000_000}
"""NIfTI's codes of the units of time."""

UNITS = {8: "s", 16: "ms", 24: "us", 32: "Hz", 40: "ppm", 48: "rad/s"}
"""NIfTI's codes of what a 4th axis may count; 0 is none."""

SILENCE = "neither the runs table, the option t_r, a sidecar nor the header says it"

SOURCES = {
    "runs table": "the runs table",
    "option t_r": "the option t_r",
    "sidecar": "its sidecar",
    "header": "its header",
    "sample": "the sample",
}
"""Who may say a TR, and how messages call them."""


@dataclass(frozen=True)
class Statement:
    """What one source says of the TR of a run.

    Attributes
    ----------
    source : str
        One of `SOURCES`, or what a plan has worded.
    seconds : float or None
        None where it says nothing that can be a TR.
    doubt : str
        What is odd about it, as words that follow the source; nothing where it is as it should be.
    file : str
        The name of the sidecar.
    """

    source: str
    seconds: float | None = None
    doubt: str = ""
    file: str = ""

    def __bool__(self) -> bool:
        """Tell whether anything is said at all."""
        return self.seconds is not None or bool(self.doubt)

    def __str__(self) -> str:
        """Word it as a clause."""
        return f"{SOURCES.get(self.source, self.source)} {self.doubt or f'says {self.seconds:g} s'}"


@dataclass(frozen=True)
class RepetitionTime:
    """The TR that is taken for a run or an image.

    Attributes
    ----------
    seconds : float or None
        None where it is not known.
    source : str or None
        Where it is from: ``runs table``, ``option t_r``, ``sidecar FILE``, ``header`` or ``sample``.
    remarks : tuple of str
        What a person should know of it: clauses of a run, sentences of an image.
    problem : str
        Why a filter must not rely on it; nothing if it may.
    """

    seconds: float | None
    source: str | None
    remarks: tuple[str, ...] = ()
    problem: str = ""


def possible(seconds: float) -> bool:
    """Tell whether a number can be a TR in seconds."""
    return SHORTEST <= seconds <= LONGEST


def same(seconds: float | None, other: float | None) -> bool:
    """Tell whether two TRs are known and one, but for how they were rounded."""
    return seconds is not None and other is not None and math.isclose(seconds, other, rel_tol=1e-3)


def header_says(n_axes: int, step: float, units: int) -> Statement:
    """Read what a header says.

    Parameters
    ----------
    n_axes : int
        Its number of axes.
    step : float
        ``pixdim[4]``.
    units : int
        ``xyzt_units``.
    """
    if n_axes < 4 or step == 0:
        return Statement("header")
    # The shortest decimal that is this float32: a TR of 2.52 s is stored as 2.5199999809….
    number = float(str(np.float32(step))) if 1e-30 < abs(step) < 1e30 else step
    code = units & 0x38
    if code == 0:
        return Statement("header", number if possible(number) else None, f"says {number:g} without a unit of time")
    if code not in PER_SECOND:
        return Statement("header", None, f"says {number:g} {UNITS.get(code, f'of the unit {code}')}, which is no time")
    seconds = number / PER_SECOND[code]
    if not possible(seconds):
        return Statement("header", None, f"says {number:g} {UNITS[code]}, {outside()}")
    return Statement("header", seconds)


def said_by_somebody(t_r: float | None, source: str | None = None) -> Statement:
    """Take the word of a person for a TR, or of a plan that has settled it.

    Raises
    ------
    UserError
        No TR is like this.
    """
    if t_r is not None and not possible(t_r):
        raise UserError(f"t_r is {t_r} s, {outside()}; give seconds, or leave it out.")
    return Statement(source or "option t_r", t_r)


def outside() -> str:
    """Word that a number cannot be a TR."""
    return f"which is outside of {SHORTEST:g} to {LONGEST:g} s"


def settle(*statements: Statement) -> RepetitionTime:
    """Take the TR of a run from what the sources say, the most explicit first."""
    said = [statement for statement in statements if statement]
    if not said:
        return RepetitionTime(None, None, (SILENCE,), SILENCE)
    first, *others = said
    source = f"{first.source} {first.file}".strip() if first.seconds else None
    if first.doubt:
        return RepetitionTime(first.seconds, source, (str(first),), str(first))
    against = [other for other in others if not same(first.seconds, other.seconds)]
    remarks = tuple(f"{other}, but {first}, which is taken" for other in against)
    contradicting = [other for other in against if not other.doubt]
    problem = f"{first}, but {contradicting[0]}" if contradicting and first.source == "sidecar" else ""
    return RepetitionTime(first.seconds, source, remarks, problem)


def join(times: Sequence[tuple[str | Path, RepetitionTime]]) -> RepetitionTime:
    """Take the TR of an image from those of its runs.

    Parameters
    ----------
    times : sequence of (path, RepetitionTime)
        Of each run, or of each volume of one.

    Raises
    ------
    UserError
        Two runs have different ones.
    """
    known = [(path, time) for path, time in times if time.seconds is not None]
    for path, time in known[1:]:
        check_same(path, time, *known[0])
    sources = list(dict.fromkeys(str(time.source) for _, time in known))
    source = " and ".join(sources if len(sources) < 3 else [sources[0], f"{len(sources) - 1} more"])
    problems = [
        f"{text} ({name_files(paths)})" if len(times) > 1 else text
        for text, paths in group(times, lambda time: [time.problem])
    ]
    remarks = tuple(f"TR of {name_files(paths)}: {text}." for text, paths in group(times, lambda time: time.remarks))
    return RepetitionTime(known[0][1].seconds if known else None, source or None, remarks, "; ".join(problems))


def check_same(path: str | Path, time: RepetitionTime, first: str | Path, first_time: RepetitionTime) -> None:
    """Refuse a run whose TR is not that of the first one of its image."""
    if None not in (time.seconds, first_time.seconds) and not same(time.seconds, first_time.seconds):
        raise UserError(
            f"{path} does not fit {first}: TR {time.seconds} s against {first_time.seconds} s; give the right one as t_r, "
            "or make it an image of its own."
        )


def group(
    times: Iterable[tuple[Any, RepetitionTime]], texts_of: Callable[[RepetitionTime], Iterable[str]]
) -> list[tuple[str, list[Any]]]:
    """Put together the runs of which the same is said; what is empty is not said."""
    groups: dict[str, list[Any]] = {}
    for run, time in times:
        for text in filter(None, texts_of(time)):
            groups.setdefault(text, []).append(run)
    return list(groups.items())


def name_files(paths: Sequence[str | Path]) -> str:
    """Name the first of some files, and count the others."""
    return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else str(paths[0])


def warn(time: RepetitionTime) -> None:
    """Tell in the log what is odd about a TR."""
    for remark in time.remarks:
        logger.warning("%s", remark)


def log_source(seconds: float | None, source: str | None) -> None:
    """Tell in the log which TR was used, and where it is from."""
    if seconds is not None:
        logger.info("TR %g s, from the %s.", seconds, source)
