"""The signal-cleaning options, what each means, and what is done to the values of every region.

What `NiftiMasker` does is the reference, to the last bit:

- values are taken in the type that nibabel gives them after scaling; integers of up to 4 bytes become float32, longer
  ones float64; float32 and float64 stay (`working_dtype`);
- values that are not finite become 0. This is NiftiMasker's policy (``ensure_finite``), and silent there; here their
  number is reported for each region wherever the strategy itself sees them;
- the result is rounded to float32 once, at the very end.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roistream.errors import UserError

logger = logging.getLogger("roistream")


@dataclass(frozen=True)
class Cleaning:
    """Signal cleaning of one image. The default is none."""


def working_dtype(dtype: np.dtype) -> np.dtype:
    """Tell in which type NiftiMasker computes on values of the given type."""
    return np.dtype(np.float64 if np.dtype(dtype).itemsize > 4 else np.float32)


def finite_values(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Bring values into NiftiMasker's type and put 0 for those that are not finite.

    Parameters
    ----------
    values : numpy.ndarray
        As nibabel gives them, of any real type.

    Returns
    -------
    values : numpy.ndarray
        float32 or float64, a copy in C order.
    n_not_finite : int
        How many have been set to 0.
    """
    values = np.array(values, working_dtype(values.dtype), order="C")
    not_finite = ~np.isfinite(values)
    n_not_finite = int(np.count_nonzero(not_finite))
    if n_not_finite:
        values[not_finite] = 0
    return values, n_not_finite


def as_float32(values: np.ndarray) -> np.ndarray:
    """Round to float32, in native byte order and C order.

    Raises
    ------
    UserError
        A value is beyond float32's range; it would become infinite.
    """
    try:
        with np.errstate(over="raise"):
            return np.ascontiguousarray(values, np.float32)
    except FloatingPointError:
        raise UserError("The image holds values beyond the range of float32 (3.4e38); rescale it.") from None


def region_time_series(values: np.ndarray, cleaning: Cleaning) -> tuple[np.ndarray, int]:
    """Turn the values of one region into its time series.

    Parameters
    ----------
    values : numpy.ndarray
        ``(n_volumes, n_voxels)``, as nibabel gives them.
    cleaning : Cleaning
        What to do to them.

    Returns
    -------
    time_series : numpy.ndarray
        float32, C order, ``(n_volumes, n_voxels)``.
    n_not_finite : int
        Values that were not finite and have been set to 0 beforehand.
    """
    values, n_not_finite = finite_values(values)
    return as_float32(values), n_not_finite


def collect(results: Iterable[tuple[np.ndarray, int]], masks: Sequence[Path]) -> list[np.ndarray]:
    """Keep the time series of `region_time_series` and report what was not finite in them."""
    arrays = []
    for (array, n_not_finite), mask in zip(results, masks, strict=True):
        if n_not_finite:
            logger.warning(
                "%s: %d of %d values were not finite and count as 0.", Path(mask).name, n_not_finite, array.size
            )
        arrays.append(array)
    return arrays
