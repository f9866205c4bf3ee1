"""The signal-cleaning options, what each means, and what is done to the values of every region.

What `NiftiMasker` does is the reference, to the last bit:

- values are taken in the type that nibabel gives them after scaling; integers of up to 4 bytes become float32, longer
  ones float64; float32 and float64 stay (`working_dtype`);
- values that are not finite become 0. This is NiftiMasker's policy (``ensure_finite``), and silent there; here their
  number is reported for each region wherever the strategy itself sees them;
- smoothing comes first and acts on whole volumes, each by itself; then each region's time series are detrended,
  filtered, freed of confounds and standardised by ``nilearn.signal.clean``, each voxel by itself. So both can be done to
  a part of the image at a time without changing any bit of the result;
- the result is rounded to float32 once, at the very end.

nilearn is imported only when there is something to clean: the import takes longer than many an extraction.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from roistream.cleaning.left_out import misplaced, within
from roistream.cleaning.options import Cleaning, outcome
from roistream.images.volumes import as_float32
from roistream.regions.constant import constant_signals
from roistream.regions.masks import Mask

logger = logging.getLogger("roistream")

FILTER_BYTES = 2 * 2**20
"""Budget of the float64 values that are filtered with one call; scipy makes about four copies of them."""


def working_dtype(dtype: np.dtype) -> np.dtype:
    """Tell in which type NiftiMasker computes on values of the given type."""
    return np.dtype(np.float64 if np.dtype(dtype).itemsize > 4 else np.float32)


def finite_values(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Bring values into NiftiMasker's type and put 0 for those that are not finite.

    Parameters
    ----------
    values : numpy.ndarray
        As nibabel gives them, of any real type. An array that has the right type and order already is changed in place.

    Returns
    -------
    values : numpy.ndarray
        float32 or float64, in C order.
    not_finite : numpy.ndarray or None
        bool, where values have been set to 0; None if nowhere.
    """
    values = np.ascontiguousarray(values, working_dtype(values.dtype))
    finite = np.isfinite(values)
    if finite.all():
        return values, None
    not_finite = ~finite
    values[not_finite] = 0
    return values, not_finite


def clean_time_series(values: np.ndarray, cleaning: Cleaning) -> np.ndarray:
    """Do to the finite values of one region what is done along time, leave volumes out, and round to float32.

    Parameters
    ----------
    values : numpy.ndarray
        ``(n_volumes, n_voxels)``, in the working type and C order: another order of summation would be other bits.
    cleaning : Cleaning
        Its temporal part is applied.

    Returns
    -------
    numpy.ndarray
        float32, C order, ``(n_kept, n_voxels)``.
    """
    return as_float32(clean_or_select(values, cleaning))


def clean_or_select(values: np.ndarray, cleaning: Cleaning) -> np.ndarray:
    """Clean signals, or only leave volumes out, which is what nilearn does without anything to clean."""
    if cleaning.temporal:
        return clean_runs(signal_module().clean, values, cleaning)
    return values[cleaning.kept_volumes(len(values))] if cleaning.left_out else values


def clean_signals(signals: np.ndarray, cleaning: Cleaning) -> np.ndarray:
    """Clean the signals of regions as NiftiLabelsMasker does: after the reduction, all regions with one call.

    Parameters
    ----------
    signals : numpy.ndarray
        ``(n_volumes, n_regions)``, float32 or float64, without NaN, in Fortran order and in ascending order of labels as
        nilearn has them: its products of matrices might round otherwise.
    cleaning : Cleaning
        Its temporal part is applied.

    Returns
    -------
    numpy.ndarray
        ``(n_kept, n_regions)``, in the type that nilearn gives.
    """
    return clean_or_select(signals, cleaning)


def clean_runs(
    clean: Callable[..., np.ndarray], values: np.ndarray, cleaning: Cleaning, options: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Clean signals as ``nilearn.signal.clean`` does, which takes runs only if all have the same confounds.

    Where each has its own it is called for each run: the bits are those of the run alone. So it is where volumes are left out at
    an end of a run that nilearn would misplace (see `roistream.cleaning.left_out`): it gets the run without them.

    Parameters
    ----------
    clean : callable
        ``nilearn.signal.clean``.
    values : numpy.ndarray
        ``(n_volumes, n_signals)``.
    cleaning : Cleaning
        What is to be done.
    options : mapping, optional
        How `clean` has been called by somebody else for this cleaning.
    """
    own = {"confounds": cleaning.confounds, "sample_mask": cleaning.sample_mask, **cleaning.parameters()}
    options = options or own
    parts = separate_parts(cleaning, len(values))
    if not parts:
        return clean(values, **options)
    alone = ({**options, "confounds": part.confounds, "sample_mask": part.sample_mask, "runs": None} for part in parts)
    return np.vstack([clean(values[part.volumes], **given) for part, given in zip(parts, alone, strict=True)])


class Part(NamedTuple):
    """A part of an image that nilearn cleans by itself: its volumes, its confounds, and which of the volumes are kept."""

    volumes: slice
    confounds: np.ndarray | None
    sample_mask: np.ndarray | None


def separate_parts(cleaning: Cleaning, n_volumes: int) -> list[Part]:
    """List the parts of an image for which nilearn has to be called one by one; none where one call does it.

    A run from which nothing is left out has no sample mask, as nilearn's ``load_confounds`` says it of a run alone: a filter
    would lay a spline through all of its volumes.
    """
    parts, first, crops = [], 0, False
    for number, part in enumerate(cleaning.parts(n_volumes)):
        inside, sample_mask = slice(0, part.n_volumes), part.kept if part.volumes else None
        if sample_mask is not None and cleaning.filters and misplaced(sample_mask, part.n_volumes):
            inside, sample_mask = within(sample_mask)
            crops = True
        volumes = slice(first + inside.start, first + inside.stop)
        confounds = cleaning.run_confounds[number] if cleaning.run_confounds else cleaning.confounds
        parts.append(Part(volumes, None if confounds is None else confounds[inside], sample_mask))
        first += part.n_volumes
    return parts if cleaning.run_confounds or crops else []


@cache
def signal_module() -> ModuleType:
    """Give ``nilearn.signal`` as we use it: a copy of the module, of our own, in which one call filters many columns.

    nilearn itself filters one by one, for the sake of the memory that a whole brain would take, and passes no option that
    would change it where an image has runs. Each call takes some 0.4 ms, ten times as long as the filtering itself; the bits
    are the same. The module that everybody else uses stays as it is, so nothing happens to other threads.
    """
    spec = find_spec("nilearn.signal")
    assert spec is not None
    module: Any = module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    butterworth: Any = getattr(module, "butterworth", None)

    def in_batches(signals: np.ndarray, *args: Any, **options: Any) -> np.ndarray:
        """Filter as many columns at a time as the budget allows, in place, as nilearn does."""
        columns = signals.reshape(len(signals), -1)
        n_columns = max(1, FILTER_BYTES // (len(columns) * np.dtype(np.float64).itemsize))
        for first in range(0, columns.shape[1], n_columns):
            some = np.s_[:, first : first + n_columns]
            columns[some] = butterworth(columns[some], *args, **{**options, "copy": True})
        return signals

    if butterworth is not None:  # else this nilearn filters in some other way, which will do
        module.butterworth = in_batches
    return module


def region_time_series(values: np.ndarray, cleaning: Cleaning) -> tuple[np.ndarray, int, int]:
    """Turn the values of one region into its time series.

    Parameters
    ----------
    values : numpy.ndarray
        ``(n_volumes, n_voxels)``, as nibabel gives them.
    cleaning : Cleaning
        Its temporal part is applied.

    Returns
    -------
    time_series : numpy.ndarray
        float32, C order, ``(n_volumes, n_voxels)``.
    n_not_finite : int
        Values that were not finite and have been set to 0 beforehand.
    n_constant : int
        Voxels that are constant over a run.
    """
    values, not_finite = finite_values(values)
    n_constant = count_constant(values, cleaning)
    n_not_finite = 0 if not_finite is None else int(np.count_nonzero(not_finite))
    return clean_time_series(values, cleaning), n_not_finite, n_constant


def count_constant(values: np.ndarray, cleaning: Cleaning) -> int:
    """Count the columns of ``(n_volumes, n_voxels)`` that are constant over a part that is cleaned by itself."""
    return int(np.count_nonzero(constant_signals(values, cleaning.part_lengths(len(values)))))


def report_not_finite(mask: Mask, n_not_finite: int, n_values: int) -> None:
    """Tell how many values of a region count as 0."""
    if n_not_finite:
        logger.warning("%s: %d of %d values were not finite and count as 0.", mask.title, n_not_finite, n_values)


def report_constant(mask: Mask, n_constant: int, cleaning: Cleaning) -> None:
    """Tell how many voxels of a region are constant over a run, and keep their number."""
    mask.seen["n_constant_voxels"] = n_constant
    if n_constant:
        logger.warning(
            "%s: %d of %d voxels are constant over a run%s.",
            mask.title,
            n_constant,
            mask.voxels.size,
            outcome(cleaning),
        )


def collect(
    results: Iterable[tuple[np.ndarray, int, int]], masks: Sequence[Mask], cleaning: Cleaning
) -> list[np.ndarray]:
    """Keep the time series of `region_time_series` and report what was odd in them."""
    arrays = []
    for (array, n_not_finite, n_constant), mask in zip(results, masks, strict=True):
        report_not_finite(mask, n_not_finite, array.size)
        report_constant(mask, n_constant, cleaning)
        arrays.append(array)
    return arrays
