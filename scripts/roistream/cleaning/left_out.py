"""Volumes that are left out: which, why, and what nilearn makes of those that lie before, between and behind the others.

nilearn calls the volumes that are kept ``sample_mask``. Without a filter it takes the others out before all cleaning. With a
Butterworth filter it first puts values of a spline into the gaps, which are taken out after the filter; what lies before the
first kept volume or behind the last is taken out before it.

In the versions that we know (0.13.1, 0.14.1) ``nilearn.signal._interpolate_volumes`` marks the gaps by ``~sample_mask``, which
for numbers of volumes is their mirror image in time: a gap is filled only if the volume as far from the other end is kept. Else
it goes through the filter as it is (`unfilled`); and if it lies before the first kept volume, nilearn's rows are those of other
volumes (`misplaced`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from roistream.errors import UserError

STEADY, SCRUBBED = "non-steady state", "scrubbing"
"""Why a denoising strategy leaves volumes out."""


@dataclass(frozen=True)
class LeftOut:
    """The volumes of a run, or of runs that are cleaned as one, that are left out.

    Attributes
    ----------
    n_volumes : int
        All volumes, from 0 on.
    reasons : mapping of str to tuple of int
        The volumes that are left out for each reason; one may be left out for several.
    """

    n_volumes: int
    reasons: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def volumes(self) -> list[int]:
        """All that are left out, in order."""
        return sorted(set().union(*self.reasons.values()))

    @property
    def kept(self) -> np.ndarray:
        """The others, in order: int64, nilearn's ``sample_mask``."""
        return np.delete(np.arange(self.n_volumes), np.array(self.volumes, np.intp))


def join_left_out(runs: Sequence[LeftOut]) -> LeftOut:
    """Count the volumes of several runs as those of one."""
    first = 0
    reasons: dict[str, tuple[int, ...]] = {}
    for run in runs:
        for reason, volumes in run.reasons.items():
            reasons[reason] = (*reasons.get(reason, ()), *(first + volume for volume in volumes))
        first += run.n_volumes
    return LeftOut(first, reasons)


def parse_sample_mask(text: str) -> np.ndarray | None:
    """Read which volumes are kept: numbers and ranges from 0 on, such as ``0-56 61-199``.

    Returns
    -------
    numpy.ndarray or None
        int64, ascending; None for all of them: empty, ``n/a`` or ``all``.

    Raises
    ------
    UserError
        It is something else.
    """
    if text in ("", "n/a", "all"):
        return None
    kept: set[int] = set()
    for part in re.split(r"[\s,;]+", text.strip()):
        found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if last < first:
            raise UserError(
                f"The sample mask {text!r} is none; give the volumes that are kept, from 0 on, such as '0-56 61-199', or 'all'."
            )
        kept.update(range(first, last + 1))
    return np.array(sorted(kept), np.int64)


def outside_of(sample_mask: np.ndarray | None, n_volumes: int, whose: str) -> tuple[int, ...]:
    """List the volumes that a sample mask does not have; None has all.

    Raises
    ------
    UserError
        It has volumes that there are not; `whose` names it.
    """
    if sample_mask is None:
        return ()
    if sample_mask.max(initial=-1) >= n_volumes:
        raise UserError(
            f"{whose} keeps volume {sample_mask.max()}, but there are {n_volumes}, from 0 to {n_volumes - 1}; correct it."
        )
    return tuple(np.setdiff1d(np.arange(n_volumes), sample_mask).tolist())


def beyond(values: np.ndarray, threshold: float) -> tuple[int, ...]:
    """List the volumes whose value is above a threshold; a missing one (NaN) is not."""
    return tuple(np.flatnonzero(values > threshold).tolist())


def unfilled(kept: np.ndarray, n_volumes: int) -> np.ndarray:
    """List the gaps that nilearn does not fill before a filter: those whose mirror image in time is left out, too.

    Parameters
    ----------
    kept : numpy.ndarray
        int, ascending: a sample mask.
    n_volumes : int
        All volumes.
    """
    gaps = np.setdiff1d(np.arange(n_volumes), kept)
    return np.setdiff1d(gaps, n_volumes - 1 - kept)


def misplaced(kept: np.ndarray, n_volumes: int) -> bool:
    """Tell whether nilearn, before a filter, leaves volumes at the beginning in the signal and counts on without them."""
    wrong = unfilled(kept, n_volumes)
    return bool(wrong.size) and bool(wrong[0] < kept[0])


def within(kept: np.ndarray) -> tuple[slice, np.ndarray]:
    """Give the volumes from the first kept one to the last, and the sample mask that counts from the first."""
    return slice(int(kept[0]), int(kept[-1]) + 1), kept - kept[0]


def span(part: LeftOut) -> int:
    """Count the volumes that a filter gets: from the first kept one to the last; none where no spline can be laid through."""
    kept = part.kept
    return int(kept[-1] - kept[0]) + 1 if kept.size > 1 else 0
