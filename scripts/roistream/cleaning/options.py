"""Options of signal cleaning, what each means: the parameters of nilearn's maskers, complete for one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roistream.cleaning.left_out import LeftOut, join_left_out

if TYPE_CHECKING:
    from roistream.cleaning.rank import Removal


@dataclass(frozen=True)
class Cleaning:
    """Signal cleaning of one image, named as the parameters of NiftiMasker. The default is none.

    Attributes
    ----------
    smoothing_fwhm : float, optional
        Full width at half maximum of a Gaussian, in mm.
    detrend : bool
        Remove each voxel's linear trend.
    standardize : {None, "zscore_sample", "psc"}
        Nothing; zero mean and unit (sample) variance; percent of the mean signal.
    standardize_confounds : bool
        Standardise the confounds before they are regressed out.
    low_pass, high_pass : float, optional
        Cut-off frequencies of a Butterworth filter, in Hz.
    t_r : float, optional
        Repetition time in seconds; needed by the filters.
    t_r_source : str, optional
        Where it is from, see `roistream.images.repetition_time.RepetitionTime`.
    t_r_remarks : tuple of str
        What is odd about it.
    confounds : numpy.ndarray, optional
        ``(n_volumes, n_confounds)``, regressed out of every voxel. A run that has fewer than another has zeros in the last
        columns (see `roistream.cleaning.signals.clean_runs`).
    runs : numpy.ndarray, optional
        ``(n_volumes,)``, the number of each volume's run: runs are cleaned each by itself. None: as one.
    removals : tuple of Removal
        What the confounds take from each part that is cleaned by itself.
    run_confounds : tuple of numpy.ndarray or None
        The confounds of each run, where nilearn has to be called for each: not all have the same number of them, or volumes
        are left out. Else empty.
    left_out : tuple of LeftOut
        The volumes of each part that is cleaned by itself that are left out; empty if there are none.
    """

    smoothing_fwhm: float | None = None
    detrend: bool = False
    standardize: str | None = None
    standardize_confounds: bool = True
    low_pass: float | None = None
    high_pass: float | None = None
    t_r: float | None = None
    t_r_source: str | None = None
    t_r_remarks: tuple[str, ...] = ()
    confounds: np.ndarray | None = None
    runs: np.ndarray | None = None
    removals: tuple[Removal, ...] = ()
    run_confounds: tuple[np.ndarray | None, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def temporal(self) -> bool:
        """Whether anything is done along time."""
        options = (self.standardize, self.low_pass, self.high_pass, self.confounds)
        return self.detrend or any(option is not None for option in options)

    @property
    def filters(self) -> bool:
        """Whether a Butterworth filter is applied."""
        return self.low_pass is not None or self.high_pass is not None

    @property
    def sample_mask(self) -> np.ndarray | None:
        """Which volumes of an image that is cleaned as one are kept; None for all."""
        return self.left_out[0].kept if len(self.left_out) == 1 else None

    def part_lengths(self, n_volumes: int) -> list[int]:
        """List the volumes of each part that is cleaned by itself: of the runs, or of the whole."""
        return [n_volumes] if self.runs is None else np.bincount(self.runs).tolist()

    def parts(self, n_volumes: int) -> list[LeftOut]:
        """List what is left out of each of these parts."""
        return list(self.left_out) or [LeftOut(length) for length in self.part_lengths(n_volumes)]

    def kept_volumes(self, n_volumes: int) -> np.ndarray:
        """List the volumes of an image that are kept, in order."""
        return join_left_out(self.left_out).kept if self.left_out else np.arange(n_volumes)

    def parameters(self) -> dict:
        """Give what NiftiMasker and ``nilearn.signal.clean`` have in common, by their names."""
        return {
            "detrend": self.detrend,
            "standardize": self.standardize,
            "standardize_confounds": self.standardize_confounds,
            "low_pass": self.low_pass,
            "high_pass": self.high_pass,
            "t_r": self.t_r,
            "runs": self.runs,
        }


def outcome(cleaning: Cleaning) -> str:
    """Word what becomes of a signal that is constant."""
    if not cleaning.temporal:
        return ""
    if cleaning.detrend or cleaning.confounds is not None or cleaning.low_pass or cleaning.high_pass:
        return "; what cleaning makes of that is 0 or rounding error" + (", scaled up" if cleaning.standardize else "")
    return "; what cleaning makes of that is 0"
