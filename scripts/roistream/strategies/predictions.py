"""What each strategy takes of memory: for each of the registry a function of its name, from headers and voxel counts.

A prediction is the PSS of the whole process tree, as `roistream.memory.measure` measures it on a machine where no other Python
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
from roistream.images.image import Image
from roistream.images.series import Series
from roistream.images.smoothing import SMOOTHING_BLOCK_BYTES
from roistream.images.volumes import BLOCK_BYTES
from roistream.strategies.programs import (
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
from roistream.strategies.streaming import BATCH_BYTES

READAHEAD_BYTES = 2**16
"""What Linux maps around a page that is touched, if it is in the page cache (fault_around_bytes)."""


@dataclass(frozen=True)
class Extraction:
    """What is to be extracted, and how large its parts are, in MiB.

    Attributes
    ----------
    image : Image or Series
        The headers.
    n_voxels : sequence of int
        Voxels of each region.
    smooths, filters : bool
        Whether volumes are smoothed, and whether time series are cleaned.
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

    image: Image | Series
    n_voxels: Sequence[int]
    smooths: bool
    filters: bool
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

    @property
    def regions(self) -> float:
        """All time series, and what is held of those regions that are worked on at once."""
        # signal.clean holds about five copies of a region; else there are the values, contiguous values and the result.
        return self.active * (5 if self.filters else 3) * self.largest + self.results

    @property
    def programs(self) -> float:
        """What the processes take of a strategy that needs nilearn only to clean."""
        if self.workers:
            return WITH_NIBABEL + POOL + self.workers * (WORKER_WITH_SIGNAL if self.filters else WORKER)
        return WITH_SIGNAL if self.filters else WITH_NIBABEL


def measure_sizes(
    image: Image | Series, n_voxels: Sequence[int], n_jobs: int, cleaning: Mapping[str, Any]
) -> Extraction:
    """Work out the sizes of an extraction's parts from the image's header; see `roistream.memory.predict`."""
    n_values = image.n_voxels * image.n_volumes / MIB
    dtype = image.dtype
    values = n_values * dtype.itemsize
    # As nilearn.image.smooth_array does, which is called in any case.
    converted = n_values * (8 if dtype == np.int64 else 4) if dtype.kind == "i" else 0.0
    compressed = any(run.compression for run in image.runs)
    mapped = not compressed and not image.converts
    per_voxel = image.n_volumes / MIB
    return Extraction(
        image=image,
        n_voxels=n_voxels,
        smooths=bool(cleaning.get("smoothing_fwhm")),
        filters=any(
            cleaning.get(option) for option in ("detrend", "standardize", "low_pass", "high_pass", "confounds")
        ),
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


def nifti_masker_path(extraction: Extraction) -> float:
    """Let each worker load the image for each of its regions."""
    e = extraction
    copies = copies_of_nilearn(e)
    # Without smoothing the image as loaded is given up before the conversion.
    held = [e.values + copies + e.flags] if e.smooths else [2 * e.values, copies + e.flags]
    return programs_of_nilearn(e) + e.regions + e.active * max(e.loaded, *held)


def nifti_masker_in_memory(extraction: Extraction) -> float:
    """Count the image, and what each worker makes of it."""
    e = extraction
    copies = copies_of_nilearn(e)
    images = max(e.loaded, e.values + copies + e.flags)
    if e.workers:  # … and the file under /dev/shm by which joblib hands the image over
        images = 2 * e.values + e.active * (copies + e.flags)
    return programs_of_nilearn(e) + e.regions + images


def programs_of_nilearn(extraction: Extraction) -> float:
    """Count what the processes take that work with nilearn's maskers."""
    pool = POOL if extraction.workers else 0
    return WITH_MASKERS + pool + extraction.workers * WORKER_WITH_MASKERS


def copies_of_nilearn(extraction: Extraction) -> float:
    """Count what NiftiMasker makes of an image.

    nilearn copies the image into C order, converts signed integers, looks for values that are not finite, and filters in
    place with a copy (nilearn 0.13.1, masking.apply_mask_fmri and image.smooth_array).
    """
    return 2 * extraction.working if extraction.smooths else extraction.values + extraction.converted


def numpy_path(extraction: Extraction) -> float:
    """Let each worker load the image for each of its regions."""
    return extraction.programs + extraction.regions + extraction.active * extraction.loaded


def numpy_in_memory(extraction: Extraction) -> float:
    """Count the image, which joblib hands over as a file under /dev/shm, of which workers map what they touch."""
    e = extraction
    if not e.workers:
        return max(e.programs + e.regions + e.values, e.programs + e.loaded)
    touched = touched_share(e.image, e.n_voxels, e.active) * e.values
    return max(WITH_NIBABEL + e.loaded, e.programs + e.regions + e.values + touched)


def shared_memory(extraction: Extraction) -> float:
    """Count the image in its segment."""
    return extraction.programs + TRACKER + extraction.regions + extraction.values


def mmap(extraction: Extraction) -> float:
    """Count a window of the mapped image for each worker."""
    e = extraction
    volume = e.stored / e.image.n_volumes
    return e.programs + e.regions + e.active * min(max(BLOCK_BYTES / MIB, volume), e.stored)


def stream(extraction: Extraction) -> float:
    """Count buffers, which hardly depend on the length of the image; and one region at a time if it is to be cleaned."""
    e, image = extraction, extraction.image
    wanted = sum(e.n_voxels)
    volume = image.n_voxels * image.widest / MIB
    row = wanted * (working_dtype(image.dtype).itemsize if e.filters else 4) / MIB
    # A look at a mask; where the voxels lie, in order of the regions and of the file; two batches.
    masks = image.n_voxels * 3 / MIB + 4 * wanted * 8 / MIB
    batches = 2 * min(max(BATCH_BYTES / MIB, row), row * image.n_volumes)
    if e.smooths:
        # The stored and scaled values and nilearn's copies.
        block = min(max(SMOOTHING_BLOCK_BYTES / MIB, volume), e.flags * image.widest)
        reading, program = 6 * block, WITH_IMAGE
    else:
        # Two buffers, one where a single block is all there is; and the scaled values.
        everything = e.flags * image.widest
        block = min(BLOCK_BYTES / MIB, everything)
        buffers = 1 if everything <= block else 2
        scales = any(run.converts for run in image.runs)
        reading, program = buffers * (2 if image.converts else 1) * block, WITH_NIBABEL if scales else WITH_NUMPY
    # The values picked from a block: as given, in the working type, flags.
    picked = max(1.0, block / volume) * wanted * (image.dtype.itemsize + 9) / MIB
    reading += masks + batches + picked
    if not e.filters:
        return program + reading
    # Regions are cleaned after the pass, one by one; a filter works on some voxels at a time.
    clean = 5 * e.largest + 4 * min(FILTER_BYTES / MIB, 2 * e.largest)
    return max(program + reading, max(program, WITH_SIGNAL) + masks + clean)


def nilearn_labels(extraction: Extraction) -> float:
    """Count the image as NiftiLabelsMasker loads and converts it, in one process."""
    e = extraction
    return WITH_MASKERS + means_of(e) + max(e.loaded, e.values + copies_of_nilearn(e) + e.flags)


def stream_labels(extraction: Extraction) -> float:
    """Count the buffers of the reader, as for `stream`, and what is made of a block."""
    e = extraction
    volume = e.image.n_voxels * e.image.widest / MIB
    budget = SMOOTHING_BLOCK_BYTES if e.smooths else BLOCK_BYTES
    block = min(max(budget / MIB, volume), e.flags * e.image.widest)
    return WITH_MASKERS + means_of(e) + 6 * block


def means_of(extraction: Extraction) -> float:
    """Count one signal for each region, of float64, and nilearn's copies of it."""
    return 6 * 8 * extraction.image.n_volumes * len(extraction.n_voxels) / MIB


def touched_share(image: Image | Series, n_voxels: Sequence[int], active: int) -> float:
    """Estimate how much of a mapped array is touched by those regions that are worked on at once.

    A region reaches over so many slices as a ball of twice its volume does (most regions of an atlas are longer than they are
    wide, many are in both hemispheres). Few workers are at the same voxels at the same time, and there are seldom as many
    cores as workers: on average half of the others add to the one.
    """
    slices = image.grid[2]
    around = READAHEAD_BYTES * image.n_volumes / (image.mib * MIB)
    shares = [min(1.0, (12 / np.pi * n) ** (1 / 3) / slices + around) for n in n_voxels]
    largest = sorted(shares, reverse=True)[:active]
    untouched = prod(1 - share for share in largest)
    return float(1 - untouched ** ((1 + active) / (2 * active)))
