"""The image in one segment of shared memory, to which the workers attach by name."""

from collections.abc import Sequence
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from roistream.cleaning import Cleaning, collect
from roistream.regions import Mask
from roistream.strategies.numpy_indexing import index, load_mask
from roistream.volumes import inspect, read_blocks


def shared_memory(image: Path, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Put the image into shared memory once; hand the workers its name.

    Handing over an array that lies in the segment would make joblib copy it into a second one. The segment goes with this
    process in any case: it is unlinked here, or by Python's resource tracker when this process is killed.
    """
    source = inspect(image)
    shape, dtype = (*source.grid, source.n_volumes), source.layout.dtype
    segment = SharedMemory(create=True, size=int(np.prod(shape)) * dtype.itemsize)
    try:
        volumes = np.ndarray((source.n_volumes, source.layout.n_voxels), dtype, segment.buf)
        for block in read_blocks(source):
            n_volumes, n_voxels = block.values.shape
            volumes[block.first_volume :, block.first_voxel :][:n_volumes, :n_voxels] = block.values
        del volumes, block
        tasks = (delayed(attach_and_index)(segment.name, shape, dtype, mask, cleaning) for mask in masks)
        return collect(Parallel(n_jobs=n_jobs)(tasks), masks)
    finally:
        segment.close()
        segment.unlink()


def attach_and_index(
    name: str, shape: tuple[int, ...], dtype: np.dtype, mask: Mask, cleaning: Cleaning
) -> tuple[np.ndarray, int]:
    """Extract one region from the segment itself."""
    segment = SharedMemory(name=name)
    try:
        return index(np.ndarray(shape, dtype, segment.buf, order="F"), load_mask(mask), cleaning)
    finally:
        segment.close()
