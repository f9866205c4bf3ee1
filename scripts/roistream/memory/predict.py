"""Predict the peak memory of extractions before anything is loaded, and word that it will not suffice.

What each strategy takes stands in `roistream.strategies.predictions`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from roistream.images.image import Image
from roistream.images.series import Series
from roistream.memory.limits import Available
from roistream.strategies import STRATEGIES
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
    """
    return STRATEGIES[strategy].load_prediction()(measure_sizes(image, n_voxels, n_jobs, cleaning))


def predict_peaks_mib(
    image: Image | Series, n_voxels: Sequence[int], n_jobs: int, cleaning: Mapping[str, Any]
) -> dict[str, float]:
    """Predict the peaks of all strategies that can do what is asked; see `predict_peak_mib`."""
    smooths, several = bool(cleaning.get("smoothing_fwhm")), len(image.runs) > 1
    able = [
        name
        for name, entry in STRATEGIES.items()
        if (entry.smooths or not smooths) and (entry.reads_series or not several)
    ]
    return {name: predict_peak_mib(name, image, n_voxels, n_jobs, cleaning) for name in able}


def tell_shortage(strategy: str, predicted: Mapping[str, float], n_jobs: int, available: Available | None) -> str:
    """Word that a strategy will take more than there is, and what else would do; nothing if it fits.

    Parameters
    ----------
    strategy : str
        The one that is to be run.
    predicted : mapping
        Peaks in MiB, from `predict_peaks_mib`.
    n_jobs : int
        Parallel workers.
    available : Available or None
        From `roistream.memory.limits.available_memory`.
    """
    if available is None or predicted[strategy] <= available.mib:
        return ""
    fitting = [name for name, mib in sorted(predicted.items(), key=lambda item: item[1]) if mib <= available.mib]
    choices = " or ".join(f"{name} ({predicted[name]:,.0f} MiB)" for name in fitting) or "a machine with more"
    return (
        f"The strategy {strategy} with {n_jobs} job(s) needs about {predicted[strategy]:,.0f} MiB of memory, but "
        f"{available.limited_by} allows {max(0.0, available.mib):,.0f} MiB; use {choices}"
    )
