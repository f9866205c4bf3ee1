"""Plain indexing of the image's array with the region's mask."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from joblib import Parallel, delayed

from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import collect, region_time_series
from roistream.images.image import Image
from roistream.regions.masks import Mask


def numpy_path(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Hand paths to the workers; each loads the whole image for each of its regions."""
    return collect(
        Parallel(n_jobs=n_jobs)(delayed(load_and_index)(image.path, mask, cleaning) for mask in masks), masks, cleaning
    )


def numpy_in_memory(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Load the image once and hand the array to the workers (joblib puts it into a memory map that they share)."""
    data = load_4d(image.path)
    return collect(
        Parallel(n_jobs=n_jobs)(delayed(index)(data, load_mask(mask), cleaning) for mask in masks), masks, cleaning
    )


def load_and_index(image: Path, mask: Mask, cleaning: Cleaning) -> tuple[np.ndarray, int, int]:
    """Load image and mask, and extract one region."""
    return index(load_4d(image), load_mask(mask), cleaning)


def index(data: np.ndarray, mask: np.ndarray, cleaning: Cleaning) -> tuple[np.ndarray, int, int]:
    """Extract one region from an array ``(x, y, z, n_volumes)`` with a mask ``(x, y, z)``."""
    return region_time_series(data[mask].T, cleaning)


def load_4d(path: Path) -> np.ndarray:
    """Load an image; NIfTI's unused axes of length 1 behind the 4th are dropped."""
    data = np.asarray(nib.load(path).dataobj)
    return data.reshape(data.shape[:4])


def load_mask(mask: Mask) -> np.ndarray:
    """Load a binary mask."""
    return np.asarray(nib.load(mask.path).dataobj) != 0
