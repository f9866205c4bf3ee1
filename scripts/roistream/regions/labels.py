"""Reduce each volume to one value for each region of a label image, as nilearn's NiftiLabelsMasker does, to the last bit.

nilearn hands each volume to `scipy.ndimage`, whose sums are those of ``np.bincount`` over the voxels in C order (z fastest), in
float64. The same is done here, with the voxels of the regions only: leaving out the others changes no sum. Least, greatest and
middle values are taken in the type of the image. Signals are float32 for images of float32 in native byte order, float64 for
all others; nilearn 0.13.1, regions/signal_extraction.py.
"""

from collections.abc import Sequence

import numpy as np

STATISTICS = ("mean", "median", "sum", "minimum", "maximum", "standard_deviation", "variance")
"""What a region's voxels can be reduced to, by the names that NiftiLabelsMasker has for them."""

SUMMED = {"mean", "sum", "standard_deviation", "variance"}


def locate_regions(labels: np.ndarray, wanted: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Find the voxels of the wanted regions.

    Parameters
    ----------
    labels : numpy.ndarray
        int, 3D, on the image's grid.
    wanted : sequence of int
        Labels of the regions, in order; none comes twice.

    Returns
    -------
    positions : numpy.ndarray
        int64; where the voxels lie in a volume of the file (x fastest), in C order of the volume (z fastest).
    regions : numpy.ndarray
        int64; for each of them the number of its region in `wanted`.
    """
    if not len(wanted):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.argsort(wanted, kind="stable")
    ascending = np.asarray(wanted)[order]
    nx, ny, _ = labels.shape
    positions, regions = [], []
    # Slab by slab: a volume may have many more voxels than the regions.
    for x in range(nx):
        place = np.minimum(np.searchsorted(ascending, labels[x]), len(order) - 1)
        y, z = np.nonzero(ascending[place] == labels[x])
        positions.append(x + nx * (y + ny * z))
        regions.append(order[place[y, z]])
    return np.concatenate(positions), np.concatenate(regions)


def signal_dtype(dtype: np.dtype) -> np.dtype:
    """Tell in which type NiftiLabelsMasker gives signals of an image."""
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)


class LabelReduction:
    """Reduces the voxels of regions, volume by volume.

    Parameters
    ----------
    regions : numpy.ndarray
        From `locate_regions`.
    n_regions : int
        Regions wanted; those without a voxel get NaN.
    statistics : sequence of str
        Some of `STATISTICS`.
    """

    def __init__(self, regions: np.ndarray, n_regions: int, statistics: Sequence[str]):
        self.regions, self.n_regions, self.statistics = regions, n_regions, tuple(statistics)
        self.n_voxels = np.bincount(regions, minlength=n_regions)
        self.filled = np.flatnonzero(self.n_voxels)
        if set(statistics) - SUMMED:
            self.by_region = np.argsort(regions, kind="stable")
            self.ends = np.cumsum(self.n_voxels)

    def reduce(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Reduce some volumes.

        Parameters
        ----------
        values : numpy.ndarray
            ``(n_volumes, n_voxels)``: the finite values of the voxels of the regions, in the order of `locate_regions`.

        Returns
        -------
        dict of numpy.ndarray
            For each statistic ``(n_volumes, n_regions)``, float32 or float64 as `signal_dtype` says.
        """
        found = {
            name: np.full((len(values), self.n_regions), np.nan, signal_dtype(values.dtype)) for name in self.statistics
        }
        if not self.filled.size:
            return found
        if not SUMMED.isdisjoint(found):
            for volume, row in enumerate(values):
                self.sum_up(row, {name: rows[volume] for name, rows in found.items()})
        if not found.keys() <= SUMMED:
            self.sort_out(values[:, self.by_region], found)
        return found

    def sum_up(self, row: np.ndarray, found: dict[str, np.ndarray]) -> None:
        """Fill in the statistics of one volume that are sums."""
        sums = np.bincount(self.regions, row, self.n_regions)
        with np.errstate(
            invalid="ignore", over="ignore"
        ):  # regions without a voxel; rounding to float32 as nilearn does
            means = sums / self.n_voxels
            if "mean" in found:
                found["mean"][:] = means
            if "sum" in found:
                found["sum"][self.filled] = sums[self.filled]
            if "variance" in found or "standard_deviation" in found:
                centred = row - means[self.regions]
                variance = np.bincount(self.regions, centred * centred, self.n_regions) / self.n_voxels
                if "variance" in found:
                    found["variance"][:] = variance
                if "standard_deviation" in found:
                    found["standard_deviation"][:] = np.sqrt(variance)

    def sort_out(self, values: np.ndarray, found: dict[str, np.ndarray]) -> None:
        """Fill in the statistics of some volumes that are values of voxels; here voxels come region by region."""
        for region in self.filled:
            end, n = self.ends[region], self.n_voxels[region]
            of_region = values[:, end - n : end]
            if "minimum" in found:
                found["minimum"][:, region] = of_region.min(axis=1)
            if "maximum" in found:
                found["maximum"][:, region] = of_region.max(axis=1)
            if "median" in found:
                step = (n - 1) // 2
                middle = np.partition(of_region, (step, n - 1 - step), axis=1)
                low, high = middle[:, step], middle[:, n - 1 - step]
                if values.dtype.kind != "f":  # the sum of two integers might not be one of their type
                    low, high = low.astype(np.float64), high.astype(np.float64)
                with np.errstate(over="ignore"):
                    found["median"][:, region] = (low + high) / 2.0
