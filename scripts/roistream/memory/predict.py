"""Predict the peak memory of an extraction from headers and voxel counts, before anything is loaded.

The prediction is the PSS of the whole process tree, as `roistream.memory.measure` measures it on a machine where no other Python
program runs (beside others, pages of libraries count in part, and the measured peak is some tens of MiB lower). It is a sum of
what programs take, which was measured once, and of how many copies of what each strategy holds at its worst moment, which
follows from the code that it runs and was checked against measurements: `make benchmark` compares all strategies for three
lengths of image and two numbers of workers (docs/benchmark.md). Workers seldom reach their peaks all at once; the prediction
assumes that they do, because nothing keeps them from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from roistream.cleaning.signals import FILTER_BYTES, working_dtype
from roistream.images.files import COMPRESSIONS
from roistream.images.image import Image
from roistream.images.smoothing import SMOOTHING_BLOCK_BYTES
from roistream.images.volumes import BLOCK_BYTES
from roistream.memory.limits import Available
from roistream.memory.programs import (
    MIB,
    POOL,
    TRACKER,
    WITH_IMAGE,
    WITH_MASKERS,
    WITH_NIBABEL,
    WITH_NUMPY,
    WITH_SIGNAL,
    WORKER,
    WORKER_WITH_MASKERS,
    WORKER_WITH_SIGNAL,
)
from roistream.strategies import STRATEGIES
from roistream.strategies.streaming import BATCH_BYTES

READAHEAD_BYTES = 2**16
"""What Linux maps around a page that is touched, if it is in the page cache (fault_around_bytes)."""


@dataclass(frozen=True)
class Sizes:
    """How large the parts of an extraction are, in MiB.

    Attributes
    ----------
    stored, values : float
        The image as stored, and as nibabel gives it after scaling.
    loaded : float
        What nibabel holds at most while it loads the image.
    converted : float
        The copy that nilearn makes of an image of signed integers; 0 for other types.
    working : float
        The image in the type in which nilearn smooths it.
    flags : float
        One byte for each value of the image.
    results, largest : float
        All time series; the largest region's values in the type in which it is cleaned.
    workers, active : int
        Processes beside the first; how many regions are worked on at once.
    """

    stored: float
    values: float
    loaded: float
    converted: float
    working: float
    flags: float
    results: float
    largest: float
    workers: int
    active: int


def measure_sizes(image: Image, n_voxels: Sequence[int], n_jobs: int) -> Sizes:
    """Work out the sizes of an extraction's parts from the image's header."""
    n_values = prod(image.grid) * image.n_volumes / MIB
    dtype = image.layout.dtype
    values = n_values * dtype.itemsize
    # As nilearn.image.smooth_array does, which is called in any case.
    converted = n_values * (8 if dtype == np.int64 else 4) if dtype.kind == "i" else 0.0
    mapped = image.data_path.suffix.lower() not in COMPRESSIONS and dtype == image.layout.raw_dtype
    per_voxel = image.n_volumes / MIB
    return Sizes(
        stored=image.mib,
        values=values,
        loaded=values if mapped else 2 * values,
        converted=converted,
        working=converted or values,
        flags=n_values,
        results=per_voxel * 4 * sum(n_voxels),
        largest=per_voxel * working_dtype(dtype).itemsize * max(n_voxels, default=0),
        workers=n_jobs if n_jobs > 1 else 0,
        active=max(1, min(n_jobs, len(n_voxels))),
    )


def predict_peak_mib(
    strategy: str, image: Image, n_voxels: Sequence[int], n_jobs: int, cleaning: Mapping[str, Any]
) -> float:
    """Predict the peak PSS of an extraction's process tree.

    Parameters
    ----------
    strategy : str
        A name of the registry.
    image : Image
        The image's header, from `roistream.images.image.inspect`.
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
    sizes = measure_sizes(image, n_voxels, n_jobs)
    smooths = bool(cleaning.get("smoothing_fwhm"))
    filters = any(cleaning.get(option) for option in ("detrend", "standardize", "low_pass", "high_pass", "confounds"))
    if strategy == "stream":
        return predict_stream(image, sizes, n_voxels, smooths, filters)
    # signal.clean holds about five copies of a region; else there are the values, contiguous values and the result.
    region = (5 if filters else 3) * sizes.largest
    regions = sizes.active * region + sizes.results
    if strategy.startswith("nifti_masker"):
        programs = WITH_MASKERS + (POOL if sizes.workers else 0) + sizes.workers * WORKER_WITH_MASKERS
        return programs + regions + predict_nifti_masker(strategy == "nifti_masker_in_memory", sizes, smooths)
    if sizes.workers:
        programs = WITH_NIBABEL + POOL + sizes.workers * (WORKER_WITH_SIGNAL if filters else WORKER)
    else:
        programs = WITH_SIGNAL if filters else WITH_NIBABEL
    volume = image.layout.volume_bytes / MIB
    match strategy:
        case "numpy_path":
            return programs + regions + sizes.active * sizes.loaded
        case "numpy_in_memory":
            if not sizes.workers:
                return max(programs + regions + sizes.values, programs + sizes.loaded)
            # joblib hands the array over as a file under /dev/shm, of which workers map what they touch.
            touched = touched_share(image, n_voxels, sizes.active) * sizes.values
            return max(WITH_NIBABEL + sizes.loaded, programs + regions + sizes.values + touched)
        case "shared_memory":
            return programs + TRACKER + regions + sizes.values
        case "mmap":
            return programs + regions + sizes.active * min(max(BLOCK_BYTES / MIB, volume), sizes.stored)
    raise ValueError(f"no prediction for the strategy {strategy!r}")


def predict_nifti_masker(in_memory: bool, sizes: Sizes, smooths: bool) -> float:
    """Predict what images take in the process tree of NiftiMasker.

    nilearn copies the image into C order, converts signed integers, looks for values that are not finite, and filters in
    place with a copy (nilearn 0.13.1, masking.apply_mask_fmri and image.smooth_array).
    """
    copies = 2 * sizes.working if smooths else sizes.values + sizes.converted
    if in_memory and sizes.workers:
        # The image, the file under /dev/shm by which joblib hands it over, and what each worker makes of it.
        return 2 * sizes.values + sizes.active * (copies + sizes.flags)
    if in_memory or smooths:
        one = max(sizes.loaded, sizes.values + copies + sizes.flags)
    else:  # the image as loaded is given up before the conversion
        one = max(sizes.loaded, 2 * sizes.values, copies + sizes.flags)
    return sizes.active * one


def predict_stream(image: Image, sizes: Sizes, n_voxels: Sequence[int], smooths: bool, filters: bool) -> float:
    """Predict the peak of the strategy `stream`, which hardly depends on the length of the image."""
    layout = image.layout
    wanted = sum(n_voxels)
    scales = layout.dtype != layout.raw_dtype
    volume = layout.n_voxels * layout.widest / MIB
    row = wanted * (working_dtype(layout.dtype).itemsize if filters else 4) / MIB
    # A look at a mask; where the voxels lie, in order of the regions and of the file; two batches.
    masks = layout.n_voxels * 3 / MIB + 4 * wanted * 8 / MIB
    batches = 2 * min(max(BATCH_BYTES / MIB, row), row * image.n_volumes)
    if smooths:
        # The stored and scaled values and nilearn's copies.
        block = min(max(SMOOTHING_BLOCK_BYTES / MIB, volume), sizes.flags * layout.widest)
        reading, program = 6 * block, WITH_IMAGE
    else:
        # Two buffers, one where a single block is all there is; and the scaled values.
        everything = sizes.flags * layout.widest
        block = min(BLOCK_BYTES / MIB, everything)
        buffers = 1 if everything <= block else 2
        reading, program = buffers * (2 if scales else 1) * block, WITH_NIBABEL if scales else WITH_NUMPY
    # The values picked from a block: as given, in the working type, flags.
    picked = max(1.0, block / volume) * wanted * (layout.dtype.itemsize + 9) / MIB
    reading += masks + batches + picked
    if not filters:
        return program + reading
    # Regions are cleaned after the pass, one by one; a filter works on some voxels at a time.
    clean = 5 * sizes.largest + 4 * min(FILTER_BYTES / MIB, 2 * sizes.largest)
    return max(program + reading, max(program, WITH_SIGNAL) + masks + clean)


def touched_share(image: Image, n_voxels: Sequence[int], active: int) -> float:
    """Estimate how much of a mapped array is touched by those regions that are worked on at once.

    A region reaches over so many slices as a ball of twice its volume does (most regions of an atlas are longer than they are
    wide, many are in both hemispheres). Few workers are at the same voxels at the same time, and there are seldom as many
    cores as workers: on average half of the others add to the one.
    """
    slices = image.grid[2]
    around = READAHEAD_BYTES / (image.layout.n_voxels * image.layout.raw_dtype.itemsize)
    shares = [min(1.0, (12 / np.pi * n) ** (1 / 3) / slices + around) for n in n_voxels]
    largest = sorted(shares, reverse=True)[:active]
    untouched = prod(1 - share for share in largest)
    return float(1 - untouched ** ((1 + active) / (2 * active)))


def predict_peaks_mib(
    image: Image, n_voxels: Sequence[int], n_jobs: int, cleaning: Mapping[str, Any]
) -> dict[str, float]:
    """Predict the peaks of all strategies that can do what is asked; see `predict_peak_mib`."""
    smooths = bool(cleaning.get("smoothing_fwhm"))
    able = [name for name, entry in STRATEGIES.items() if entry.smooths or not smooths]
    return {name: predict_peak_mib(name, image, n_voxels, n_jobs, cleaning) for name in able}


def need_mib(strategy: str, predicted_mib: float, n_jobs: int, image_mib: float, limit: Available) -> float:
    """Give what of an extraction counts against a limit.

    Against one of address space it is the least that some process must have: only what reads the image block by block has
    not all of it in the address space of one process, loaded or mapped.
    """
    if not limit.each_process or STRATEGIES[strategy].streams:
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
        if fits(name, mib, n_jobs, image_mib, limits)
    ]
    choices = " or ".join(f"{name} ({predicted[name]:,.0f} MiB)" for name in fitting) or "a machine with more"
    return (
        f"The strategy {strategy} with {n_jobs} job(s) needs about {need:,.0f} MiB of memory, but "
        f"{limit.limited_by} allows {max(0.0, limit.mib):,.0f} MiB; use {choices}"
    )
