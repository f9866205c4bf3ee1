"""The extraction of one image of a study: one pass over its runs, every region reduced at once, then cleaned.

The order is that of nilearn's maskers of regions: smooth each volume, reduce it, clean the regions' signals. For a z-score,
say, this is not the mean of z-scored voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from roistream.cleaning.left_out import LeftOut, join_left_out
from roistream.cleaning.options import Cleaning
from roistream.images.progress import progress
from roistream.images.series import Series
from roistream.images.smoothing import SMOOTHING_BLOCK_BYTES, smooth, tell_smoothed
from roistream.images.volumes import BLOCK_BYTES, read_blocks
from roistream.regions.data import DataWatch

if TYPE_CHECKING:
    from roistream.study.voxels import VoxelFile


class Reduction(Protocol):
    """The reduction of an image's volumes to the regions of an atlas.

    Attributes
    ----------
    positions : numpy.ndarray
        int; where the voxels lie that are reduced, in a volume of the file (x fastest).
    watched : numpy.ndarray
        int; the same, and behind them those by which coverage is measured as well.
    n_regions : int
        Regions asked for.
    n_voxels : numpy.ndarray
        int; voxels of each of them on the image's grid.
    """

    positions: np.ndarray
    watched: np.ndarray
    n_regions: int
    n_voxels: np.ndarray

    def reduce(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Give for each statistic ``(n_volumes, n_regions)`` of the finite values ``(n_volumes, n_voxels)`` of `positions`."""

    def count(self, of_voxels: np.ndarray) -> np.ndarray:
        """Add up for each region what its voxels, of those of `positions`, have."""

    def coverage(self, covered: np.ndarray) -> np.ndarray:
        """Give the share of each region that is covered by some of the voxels `watched`, bool; NaN for one that is nowhere."""

    def constant(self, signals: np.ndarray, run_lengths: Sequence[int]) -> np.ndarray:
        """Tell which signals ``(n_volumes, n_regions)`` are constant over a run."""


@dataclass(frozen=True)
class Extraction:
    """What one pass over an image has given.

    Attributes
    ----------
    signals : dict of numpy.ndarray
        For each statistic the regions' signals before cleaning, ``(n_volumes, n_regions)``; NaN where a region has no data.
    n_voxels : numpy.ndarray
        int; voxels of each region on the image's grid.
    coverage : numpy.ndarray
        float64; for each region the share of its atlas voxels, or of its map's weight, that lies in the image and holds data;
        NaN where it has none.
    without_data : numpy.ndarray
        bool; regions without a voxel in the image that ever has a finite value other than 0.
    n_not_finite : numpy.ndarray
        int; for each region the values that were not finite and count as 0.
    n_constant : numpy.ndarray
        int; for each region the voxels that hold data, but one value throughout a run.
    constant_regions : dict of numpy.ndarray
        bool; for each statistic the regions whose signal has one value throughout a run; volumes that are left out do not count.
    values_not_finite, constant_voxels : int
        The same of all voxels, each counted once where regions share it.
    """

    signals: dict[str, np.ndarray]
    n_voxels: np.ndarray
    coverage: np.ndarray
    without_data: np.ndarray
    n_not_finite: np.ndarray
    n_constant: np.ndarray
    constant_regions: dict[str, np.ndarray]
    values_not_finite: int
    constant_voxels: int


def extract(
    source: Series,
    reduction: Reduction,
    smoothing_fwhm: float | None = None,
    voxels: VoxelFile | None = None,
    parts: Sequence[LeftOut] = (),
    mask: np.ndarray | None = None,
) -> Extraction:
    """Go through an image once.

    Parameters
    ----------
    source : Series
        The runs of the image.
    reduction : Reduction
        Prepared by an atlas on the image's grid.
    smoothing_fwhm : float, optional
        Smooth each volume first, in mm. Whether voxels hold data is seen before.
    voxels : VoxelFile, optional
        Gets the volumes, too.
    parts : sequence of LeftOut
        The parts that are cleaned by themselves, and what is left out of them; by default the image is one, and all is kept.
    mask : numpy.ndarray, optional
        bool, the voxels of a volume in the order of the file: others are none of any region, and do not count as covered.

    Returns
    -------
    Extraction
        Complete.
    """
    positions, watched = reduction.positions, reduction.watched
    parts = parts or [LeftOut(source.n_volumes)]
    watch = DataWatch(watched.size, [part.n_volumes for part in parts])
    signals: dict[str, np.ndarray] = {}
    budget = SMOOTHING_BLOCK_BYTES if smoothing_fwhm else BLOCK_BYTES
    picked, n_in_all = np.empty((0, watched.size), source.dtype), 0
    for block in progress(read_blocks(source, budget, whole_volumes=True), source, "reading"):
        n_volumes, values = len(block.values), block.values
        if len(picked) < n_volumes:
            picked = np.empty((n_volumes, watched.size), source.dtype)
        # All positions lie in the volume; "clip" is the mode in which numpy needs no array of its own.
        watching = np.take(values, watched, axis=1, out=picked[:n_volumes], mode="clip")
        watch.look(watching)
        reducing = watching[:, : positions.size]
        if smoothing_fwhm:
            if values.dtype.kind == "f":
                n_in_all += values.size - int(np.count_nonzero(np.isfinite(values)))
            values = smooth(values, source.grid, source.affine, smoothing_fwhm)
            reducing = np.take(values, positions, axis=1)
            reducing[~np.isfinite(reducing)] = 0
        if voxels is not None:
            voxels.append(values)
        for name, reduced in reduction.reduce(reducing).items():
            if name not in signals:  # the type is known now: smoothing may have changed it
                signals[name] = np.empty((source.n_volumes, reduction.n_regions), reduced.dtype)
            signals[name][block.first_volume : block.first_volume + n_volumes] = reduced
    tell_smoothed(n_in_all, source.path)
    of_regions = slice(positions.size)
    filled = reduction.count(watch.filled[of_regions]) > 0
    for of_statistic in signals.values():
        of_statistic[:, ~filled] = np.nan
    constant, n_not_finite = (watch.constant & watch.filled)[of_regions], watch.n_not_finite[of_regions]
    covered = watch.holds_data if mask is None else watch.holds_data & mask[watched]
    kept, lengths = join_left_out(parts).kept, [part.kept.size for part in parts]
    return Extraction(
        signals,
        reduction.n_voxels,
        reduction.coverage(covered),
        ~filled,
        reduction.count(n_not_finite).astype(np.int64),
        reduction.count(constant).astype(np.int64),
        {name: reduction.constant(of_statistic[kept], lengths) for name, of_statistic in signals.items()},
        int(n_not_finite.sum()),
        int(np.count_nonzero(constant)),
    )


def clean(signals: np.ndarray, wanted: Sequence[int], cleaning: Cleaning) -> np.ndarray:
    """Clean the signals of the regions that have data; the others stay NaN, and touch nothing.

    Parameters
    ----------
    signals : numpy.ndarray
        ``(n_volumes, n_regions)``; a column of NaN for a region without data.
    wanted : sequence of int
        The labels of the columns.
    cleaning : Cleaning
        Its temporal part is applied.

    Returns
    -------
    numpy.ndarray
        ``(n_kept, n_regions)``, in the type that nilearn gives.
    """
    ascending = np.argsort(wanted, kind="stable")
    present = ascending[~np.isnan(signals[0, ascending])] if len(signals) else ascending
    if not cleaning.temporal or not present.size:
        return signals[cleaning.kept_volumes(len(signals))] if cleaning.left_out else signals
    from roistream.cleaning.signals import clean_signals  # of no use to who does not clean

    cleaned = clean_signals(np.asfortranarray(signals[:, present]), cleaning)
    result = np.full((len(cleaned), len(wanted)), np.nan, cleaned.dtype)
    result[:, present] = cleaned
    return result
