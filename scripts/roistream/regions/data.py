"""Which voxels hold data: those that are finite in all volumes, and not 0 in all of them."""

import numpy as np


class DataWatch:
    """Looks at some voxels, volume by volume.

    Most voxels show in the first two volumes that they are neither 0 nor constant; later only the others are looked at.

    Parameters
    ----------
    n_voxels : int
        Voxels to watch.

    Attributes
    ----------
    finite : numpy.ndarray
        bool; voxels that were finite in all volumes so far.
    filled : numpy.ndarray
        bool; voxels that had a finite value other than 0.
    constant : numpy.ndarray
        bool; voxels that had the same value in all volumes.
    n_not_finite : numpy.ndarray
        int64; for each voxel the number of values that were not finite.
    """

    def __init__(self, n_voxels: int):
        self.finite = np.ones(n_voxels, bool)
        self.filled = np.zeros(n_voxels, bool)
        self.constant = np.ones(n_voxels, bool)
        self.n_not_finite = np.zeros(n_voxels, np.int64)
        self._first: np.ndarray | None = None
        self._empty = self._same = np.arange(n_voxels)

    @property
    def holds_data(self) -> np.ndarray:
        """Which voxels hold data."""
        return self.finite & self.filled

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
        if self._first is None:
            self._first = values[0].copy()
        if self._same.size:
            changed = (values[:, self._same] != self._first[self._same]).any(axis=0)
            self.constant[self._same[changed]] = False
            self._same = self._same[~changed]
