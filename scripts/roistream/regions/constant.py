"""Which voxels or regions are constant over a run: they hold nothing that cleaning could bring out.

What nilearn makes of them is 0, or rounding error: with ``detrend``, filters or confounds a trifle beside 0 is left, which
``standardize`` scales up to unit variance.
"""

from collections.abc import Sequence

import numpy as np


class ConstantWatch:
    """Looks at signals, volume by volume.

    Most show in the first two volumes of a run that they are not constant; later only the others are looked at.

    Parameters
    ----------
    n_signals : int
        Voxels or regions to watch.
    run_lengths : sequence of int
        Volumes of each run. In a run of one volume nothing counts as constant.

    Attributes
    ----------
    found : numpy.ndarray
        bool; signals that had one value throughout a run that has been seen to its end.
    """

    def __init__(self, n_signals: int, run_lengths: Sequence[int]):
        self.found = np.zeros(n_signals, bool)
        self._lengths = list(run_lengths)
        self._n_seen = 0
        self._first, self._same = np.empty(0), np.arange(0)

    def look(self, values: np.ndarray) -> None:
        """Look at the next volumes, given as ``(n_volumes, n_signals)``; NaN is not constant."""
        while len(values):
            length = self._lengths[0]
            of_run, values = np.split(values, [length - self._n_seen])
            if not self._n_seen:
                self._first, self._same = of_run[0].copy(), np.arange(of_run.shape[1])
            self._n_seen += len(of_run)
            for some in (of_run[:2], of_run[2:]):
                if self._same.size and len(some):
                    same = (some[:, self._same] == self._first[self._same]).all(axis=0)
                    self._same = self._same[same]
            if self._n_seen == length:
                if length > 1:
                    self.found[self._same] = True
                self._lengths.pop(0)
                self._n_seen = 0


def constant_signals(values: np.ndarray, run_lengths: Sequence[int]) -> np.ndarray:
    """Tell which columns of an array ``(n_volumes, n_signals)`` are constant over a run: bool, ``(n_signals,)``."""
    watch = ConstantWatch(values.shape[1], run_lengths)
    watch.look(values)
    return watch.found
