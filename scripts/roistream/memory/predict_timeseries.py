"""Predict the peak memory of the extraction of one image of a study, from headers alone; see `roistream.memory.predict`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from roistream.images.series import Series
from roistream.images.smoothing import SMOOTHING_BLOCK_BYTES
from roistream.images.volumes import BLOCK_BYTES
from roistream.strategies.programs import MIB, WITH_IMAGE, WITH_LINALG, WITH_NIBABEL, WITH_NUMPY, WITH_SIGNAL

RESIDENT = 8.0
"""What the kernel's peak of a process counts beside the PSS on which the other numbers stand: pages of shared libraries."""

LABELLED = 0.3
"""Share of a volume that lies in regions; an atlas of the whole brain has about a quarter, few have more."""

CLEANED_MIB = 4.0
"""What of every voxel's series is cleaned at a time."""


class Weights(NamedTuple):
    """What an atlas of maps or spheres has on the grid: maps, weights that are not 0, and voxels in which there are some."""

    n_maps: int
    n_weights: int
    n_voxels: int


def predict_timeseries_mib(
    source: Series,
    n_regions: int,
    n_statistics: int,
    cleaning: Mapping[str, Any],
    save_voxels: bool = False,
    weights: Weights | None = None,
) -> float:
    """Predict the peak of the extraction of one image of a study, as the kernel counts it (VmHWM).

    Parameters
    ----------
    source : Series
        The runs of the image, known from their headers.
    n_regions : int
        Regions asked for; 0 if that is not known yet, which counts as none.
    n_statistics : int
        Statistics asked for.
    cleaning : mapping
        The cleaning options, named as in the config; ``masks``, if the regions are restricted to brain masks.
    save_voxels : bool
        Whether every voxel's series is written, too.
    weights : Weights, optional
        Of an atlas that is no label image.

    Returns
    -------
    float
        MiB.
    """
    voxels = source.n_voxels / MIB
    smooths = bool(cleaning.get("smoothing_fwhm"))
    strategy = bool(cleaning.get("strategy"))
    temporal = ("detrend", "standardize", "low_pass", "high_pass", "confounds", "strategy")
    filters = any(cleaning.get(option) for option in temporal)
    scales = any(run.layout.dtype != run.layout.raw_dtype for run in source.runs)
    budget = (SMOOTHING_BLOCK_BYTES if smooths else BLOCK_BYTES) / MIB
    # At least one volume, at most the longest run, in two buffers; scaled values beside the stored ones.
    longest = max(run.n_volumes for run in source.runs)
    block = min(max(budget, voxels * source.widest), voxels * source.widest * longest)
    reading = (6 if smooths else 2 * (2 if scales else 1)) * block
    # The atlas as it is read; the voxels picked from a block, and what is noted of each of them.
    atlas = 14 * voxels
    share = LABELLED if weights is None else weights.n_voxels / source.n_voxels
    picked = share * (block + 35 * voxels)
    values = source.n_volumes * n_regions / MIB
    signals = values * (4 if source.dtype == "float32" else 8)
    program = WITH_IMAGE if smooths else WITH_NIBABEL if scales else WITH_NUMPY
    if weights is not None:
        # In place of labels there are some copies of the sparse array, of the square of the maps, and of a block in float64.
        program = max(program, WITH_LINALG)
        atlas = (70 * weights.n_weights + 5 * 8 * weights.n_maps**2 + 24 * weights.n_voxels) / MIB
        picked += 2 * 8 / source.widest * share * block
    if strategy:  # nilearn makes the confounds before the pass
        program = max(program, WITH_SIGNAL)
    if cleaning.get("masks"):
        atlas += 3 * voxels
    peak = program + reading + atlas + picked + n_statistics * signals
    if filters:
        # nilearn comes into memory when the pass is over, and makes some copies of the signals of one statistic.
        cleaned = max(program, WITH_SIGNAL) + n_statistics * signals + 6 * 8 * values
        cleaned += atlas / 2 if weights is not None else 0
        if save_voxels:
            from roistream.cleaning.signals import FILTER_BYTES

            cleaned += 2 * CLEANED_MIB + 4 * FILTER_BYTES / MIB
        peak = max(peak, cleaned)
    return RESIDENT + peak
