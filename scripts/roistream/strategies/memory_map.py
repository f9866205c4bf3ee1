"""A memory map of the uncompressed image, whose pages the workers share through the operating system's cache."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from joblib import Parallel, delayed

from roistream.cleaning import Cleaning, collect, region_time_series
from roistream.errors import UserError
from roistream.regions import Mask
from roistream.strategies.numpy_indexing import load_mask
from roistream.volumes import inspect


def mmap(image: Path, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Hand paths to the workers; each maps the image and reads the pages that hold its regions' voxels."""
    if inspect(image).data_path.suffix in (".gz", ".bz2"):
        raise UserError(f"{image} is compressed and cannot be mapped; decompress it, or use the strategy 'stream'.")
    return collect(Parallel(n_jobs=n_jobs)(delayed(map_and_index)(image, mask, cleaning) for mask in masks), masks)


def map_and_index(image: Path, mask: Mask, cleaning: Cleaning) -> tuple[np.ndarray, int]:
    """Extract one region from the map.

    Index first, scale then: scaling a map would load all of it. Value by value it is the same arithmetic.
    """
    source = inspect(image)
    stored = nib.load(image).dataobj.get_unscaled()
    stored = stored.reshape((*source.grid, source.n_volumes), order="F")
    return region_time_series(source.layout.scaled(stored[load_mask(mask)].T), cleaning)
