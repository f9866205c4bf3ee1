"""Predict the peak memory of extractions before anything is loaded, and word that it will not suffice.

What each strategy takes stands in `roistream.strategies.predictions`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from roistream.images.image import Image
from roistream.images.series import Series
from roistream.memory.limits import Available
from roistream.strategies import REGISTRY
from roistream.strategies.predictions import measure_sizes


def predict_peak_mib(
    strategy: str, image: Image | Series, n_voxels: Sequence[int], n_jobs: int, cleaning: Mapping[str, Any]
) -> float:
    """Predict the peak PSS of an extraction's process tree.

    Parameters
    ----------
    strategy : str
        A name of the registry.
    image : Image or Series
        The headers, from `roistream.images.image.inspect` or `roistream.images.series.open_series`.
    n_voxels : sequence of int
        Voxels of each region.
    n_jobs : int
        Parallel workers.
    cleaning : mapping
        The cleaning options, named as in the config.

    Returns
    -------
    float
        MiB.

    Examples
    --------
    >>> import nibabel, numpy, tempfile
    >>> from roistream import inspect, predict_peak_mib
    >>> image = nibabel.Nifti1Image(numpy.ones((4, 5, 3, 8), "f4"), numpy.eye(4))
    >>> path = f"{tempfile.mkdtemp()}/run.nii.gz"
    >>> image.to_filename(path)
    >>> run = inspect(path)
    >>> predicted = {name: predict_peak_mib(name, run, [20, 30], 1, {}) for name in ("stream", "nifti_masker_path")}
    >>> predicted["stream"] < predicted["nifti_masker_path"]
    True
    """
    return REGISTRY[strategy].load_prediction()(measure_sizes(image, n_voxels, n_jobs, cleaning))


def predict_peaks_mib(
    image: Image | Series, n_voxels: Sequence[int], n_jobs: int, cleaning: Mapping[str, Any]
) -> dict[str, float]:
    """Predict the peaks of all strategies that can do what is asked; see `predict_peak_mib`."""
    smooths, several = bool(cleaning.get("smoothing_fwhm")), len(image.runs) > 1
    able = [
        name
        for name, entry in REGISTRY.items()
        if (entry.smooths or not smooths) and (entry.reads_series or not several)
    ]
    return {name: predict_peak_mib(name, image, n_voxels, n_jobs, cleaning) for name in able}


def need_mib(strategy: str, predicted_mib: float, n_jobs: int, image_mib: float, limit: Available) -> float:
    """Give what of an extraction counts against a limit.

    Against one of address space it is the least that some process must have: only what reads the image block by block has
    not all of it in the address space of one process, loaded or mapped.
    """
    if not limit.each_process or REGISTRY[strategy].reads_series:
        return predicted_mib
    return max(image_mib, predicted_mib / (n_jobs + 1))


def fits(strategy: str, predicted_mib: float, n_jobs: int, image_mib: float, limits: Sequence[Available]) -> bool:
    """Tell whether an extraction keeps all limits; see `need_mib`."""
    return all(need_mib(strategy, predicted_mib, n_jobs, image_mib, limit) <= limit.mib for limit in limits)


def tell_shortage(
    strategy: str, predicted: Mapping[str, float], n_jobs: int, image_mib: float, limits: Sequence[Available]
) -> str:
    """Word that a strategy will take more than there is, and what else would do; nothing if it fits.

    Parameters
    ----------
    strategy : str
        The one that is to be run.
    predicted : mapping
        Peaks in MiB, from `predict_peaks_mib`.
    n_jobs : int
        Parallel workers.
    image_mib : float
        Size of the image as stored, without compression.
    limits : sequence of Available
        From `roistream.memory.limits.memory_limits`.
    """
    exceeded = [limit for limit in limits if not fits(strategy, predicted[strategy], n_jobs, image_mib, [limit])]
    if not exceeded:
        return ""
    limit = min(exceeded, key=lambda limit: limit.mib)
    need = need_mib(strategy, predicted[strategy], n_jobs, image_mib, limit)
    fitting = [
        name
        for name, mib in sorted(predicted.items(), key=lambda item: item[1])
        if REGISTRY[name].averages == REGISTRY[strategy].averages and fits(name, mib, n_jobs, image_mib, limits)
    ]
    choices = " or ".join(f"{name} ({predicted[name]:,.0f} MiB)" for name in fitting) or "a machine with more"
    return (
        f"The strategy {strategy} with {n_jobs} job(s) needs about {need:,.0f} MiB of memory, but "
        f"{limit.limited_by} allows {max(0.0, limit.mib):,.0f} MiB; use {choices}"
    )
