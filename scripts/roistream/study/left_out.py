"""What results tell of the volumes that are left out."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from roistream.cleaning.denoised import Denoised
from roistream.cleaning.left_out import SCRUBBED, STEADY, misplaced, unfilled, within
from roistream.cleaning.options import Cleaning

logger = logging.getLogger("roistream")


def may_leave_out(options: Mapping[str, Any], sample_masks: Sequence[object]) -> bool:
    """Tell whether options may leave volumes out, of some image if not of this one: tables then say which volume a row is."""
    return bool(sample_masks) or any(options.get(key) for key in ("strategy", "drop_first", "leave_out_above"))


def describe_left_out(denoised: Denoised, short: Sequence[str]) -> dict[str, Any]:
    """Make the entries of a sidecar that tell which volumes are left out and why.

    Parameters
    ----------
    denoised : Denoised
        What is left out of each run.
    short : sequence of str
        Which runs keep too few volumes.
    """
    runs = denoised.left_out
    scrubbed = [
        set().union(*(volumes for reason, volumes in run.reasons.items() if reason == SCRUBBED or ">" in reason))
        for run in runs
    ]
    return {
        "NumberOfVolumesKept": sum(run.kept.size for run in runs),
        "VolumesLeftOut": [{reason: list(volumes) for reason, volumes in run.reasons.items()} for run in runs],
        "NumberOfVolumesDiscardedByMotionScrubbing": sum(map(len, scrubbed)),
        "NumberOfVolumesDiscardedByNonsteadyStatesDetector": sum(len(run.reasons.get(STEADY, ())) for run in runs),
        "TooFewVolumes": list(short) or None,
    }


def filter_remarks(cleaning: Cleaning) -> list[str]:
    """Word, and tell in the log, what becomes of volumes that are left out in a filter, where that is not what one expects."""
    cut, through = 0, 0
    for part in cleaning.left_out if cleaning.filters else ():
        kept, length = part.kept, part.n_volumes
        if misplaced(kept, length):
            inside, kept = within(kept)
            cut, length = cut + length - (inside.stop - inside.start), inside.stop - inside.start
        through += unfilled(kept, length).size
    remarks = []
    if cut:
        remarks.append(
            f"{cut} volume(s) at the ends are cut off before the filter; nilearn, given the whole run, would take them in, and "
            "give the signals of other volumes than those that are kept"
        )
    if through:
        remarks.append(
            f"{through} volume(s) that are left out go through the filter as they are, and have an effect on their neighbours: "
            "nilearn lays its spline over a gap only if the volume as far from the other end of the run is kept"
        )
    for remark in remarks:
        logger.warning("%s.", remark)
    return remarks
