"""A run, as a study lists it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from roistream.images.repetition_time import RepetitionTime


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
