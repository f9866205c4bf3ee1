"""Plain indexing of the image's array with the region's mask."""

from collections.abc import Sequence

import numpy as np

from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import collect, region_time_series
from roistream.images.image import Image
from roistream.regions.masks import Mask
from roistream.strategies.loading import load_mask, load_values
from roistream.strategies.workers import run_in_parallel


def numpy_path(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Let each worker load the whole image for each of its regions."""
    tasks = ((image, mask, cleaning) for mask in masks)
    return collect(run_in_parallel(n_jobs, load_and_index, tasks), masks, cleaning)


def numpy_in_memory(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Load the image once and hand the array to the workers (joblib puts it into a memory map that they share)."""
    data = load_values(image)
    tasks = ((data, load_mask(mask), cleaning) for mask in masks)
    return collect(run_in_parallel(n_jobs, index, tasks), masks, cleaning)


def load_and_index(image: Image, mask: Mask, cleaning: Cleaning) -> tuple[np.ndarray, int, int]:
    """Load image and mask, and extract one region."""
    return index(load_values(image), load_mask(mask), cleaning)


def index(data: np.ndarray, mask: np.ndarray, cleaning: Cleaning) -> tuple[np.ndarray, int, int]:
    """Extract one region from an array ``(x, y, z, n_volumes)`` with a mask ``(x, y, z)``."""
    return region_time_series(data[mask].T, cleaning)
