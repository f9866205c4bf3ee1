"""A memory map of the uncompressed image, whose pages the workers share through the operating system's cache."""

import mmap as memory_mapping
from collections.abc import Sequence

import nibabel as nib
import numpy as np
from joblib import Parallel, delayed

from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import collect, region_time_series
from roistream.errors import UserError
from roistream.images.files import COMPRESSIONS
from roistream.images.image import Image
from roistream.images.volumes import BLOCK_BYTES
from roistream.regions.masks import Mask


def mmap(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Hand paths to the workers; each maps the image and reads the pages that hold its regions' voxels."""
    if image.data_path.suffix in COMPRESSIONS:
        raise UserError(
            f"{image.path} is compressed and cannot be mapped; decompress it, or use the strategy 'stream'."
        )
    return collect(
        Parallel(n_jobs=n_jobs)(delayed(map_and_index)(image, mask, cleaning) for mask in masks), masks, cleaning
    )


def map_and_index(source: Image, mask: Mask, cleaning: Cleaning) -> tuple[np.ndarray, int, int]:
    """Extract one region from the map, some volumes at a time.

    Pages that have been touched stay in the process, and with the pages around them they are soon most of the image; after
    each window, a block of volumes, they are given back to the page cache. Values are scaled after indexing: value by value it
    is the same arithmetic, and scaling a map would load all of it.
    """
    stored = nib.load(source.path).dataobj.get_unscaled()
    volumes = stored.reshape((source.n_voxels, source.n_volumes), order="F").T
    values = np.empty((source.n_volumes, mask.voxels.size), stored.dtype)
    n_volumes = max(1, BLOCK_BYTES // source.layout.volume_bytes)
    for first in range(0, source.n_volumes, n_volumes):
        window = slice(first, first + n_volumes)
        np.take(volumes[window], mask.voxels, axis=1, out=values[window])
        mapping_of(stored).madvise(memory_mapping.MADV_DONTNEED)
    return region_time_series(source.layout.scaled(values), cleaning)


def mapping_of(array: np.ndarray) -> memory_mapping.mmap:
    """Find the map that an array is a view of."""
    while not isinstance(array, memory_mapping.mmap):
        array = array.base
    return array
