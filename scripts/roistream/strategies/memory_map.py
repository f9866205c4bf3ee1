"""A memory map of the uncompressed image, whose pages the workers share through the operating system's cache."""

import mmap as memory_mapping
from collections.abc import Sequence

import numpy as np
from nibabel.arrayproxy import ArrayProxy

from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import collect, region_time_series
from roistream.errors import UserError
from roistream.images.image import Image
from roistream.images.volumes import BLOCK_BYTES
from roistream.regions.masks import Mask
from roistream.strategies.loading import tell_end
from roistream.strategies.workers import run_in_parallel


def mmap(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Hand paths to the workers; each maps the image and reads the pages that hold its regions' voxels."""
    if image.compression:
        raise UserError(
            f"{image.path} is compressed and cannot be mapped; decompress it, or use the strategy 'stream'."
        )
    tell_end(image)
    tasks = ((image, mask, cleaning) for mask in masks)
    return collect(run_in_parallel(n_jobs, map_and_index, tasks), masks, cleaning)


def map_and_index(source: Image, mask: Mask, cleaning: Cleaning) -> tuple[np.ndarray, int, int]:
    """Extract one region from the map, some volumes at a time.

    Pages that have been touched stay in the process, and with the pages around them they are soon most of the image; after
    each window, a block of volumes, they are given back to the page cache. Values are scaled after indexing: value by value it
    is the same arithmetic, and scaling a map would load all of it.
    """
    shape = (source.n_voxels, source.n_volumes)
    with source.data_path.open("rb") as file:
        stored = ArrayProxy(file, (shape, source.layout.raw_dtype, source.layout.offset)).get_unscaled()
    volumes = stored.T
    values = np.empty((source.n_volumes, mask.voxels.size), stored.dtype)
    n_volumes = max(1, BLOCK_BYTES // source.layout.volume_bytes)
    for first in range(0, source.n_volumes, n_volumes):
        window = slice(first, first + n_volumes)
        np.take(volumes[window], mask.voxels, axis=1, out=values[window])
        mapping_of(stored).madvise(memory_mapping.MADV_DONTNEED)
    return region_time_series(source.layout.scaled(values), cleaning)


def mapping_of(array: np.ndarray) -> memory_mapping.mmap:
    """Find the map that an array is a view of."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, memory_mapping.mmap)
    return base
