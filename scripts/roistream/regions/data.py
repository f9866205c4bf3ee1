"""Which voxels hold data: those that are finite in all volumes, and not 0 in all of them."""

from collections.abc import Sequence

import numpy as np

from roistream.regions.constant import ConstantWatch


class DataWatch:
    """Looks at some voxels, volume by volume.

    Most voxels show in the first two volumes that they are neither 0 nor constant; later only the others are looked at.

    Parameters
    ----------
    n_voxels : int
        Voxels to watch.
    run_lengths : sequence of int
        Volumes of each run.

    Attributes
    ----------
    finite : numpy.ndarray
        bool; voxels that were finite in all volumes so far.
    filled : numpy.ndarray
        bool; voxels that had a finite value other than 0.
    n_not_finite : numpy.ndarray
        int64; for each voxel the number of values that were not finite.
    """

    def __init__(self, n_voxels: int, run_lengths: Sequence[int]):
        self.finite = np.ones(n_voxels, bool)
        self.filled = np.zeros(n_voxels, bool)
        self.n_not_finite = np.zeros(n_voxels, np.int64)
        self._empty = np.arange(n_voxels)
        self._constant = ConstantWatch(n_voxels, run_lengths)

    @property
    def holds_data(self) -> np.ndarray:
        """Which voxels hold data."""
        return self.finite & self.filled

    @property
    def constant(self) -> np.ndarray:
        """Which voxels had one value throughout a run, see `roistream.regions.constant.ConstantWatch`."""
        return self._constant.found

    def look(self, values: np.ndarray) -> None:
        """Look at some volumes, and put 0 for values that are not finite, as nilearn does.

        Parameters
        ----------
        values : numpy.ndarray
            ``(n_volumes, n_voxels)``; changed in place.
        """
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                values[~finite] = 0
                self.finite &= finite.all(axis=0)
                self.n_not_finite += np.count_nonzero(~finite, axis=0)
        if self._empty.size:
            filled = (values[:, self._empty] != 0).any(axis=0)
            self.filled[self._empty[filled]] = True
            self._empty = self._empty[~filled]
        self._constant.look(values)
