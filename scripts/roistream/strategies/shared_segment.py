"""The image in one segment of shared memory, to which the workers attach by name."""

import math
import mmap
import os
import shutil
from collections.abc import Sequence
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import collect, region_time_series
from roistream.errors import UserError
from roistream.images.image import Image
from roistream.images.volumes import read_blocks
from roistream.regions.masks import Mask
from roistream.strategies.loading import load_mask
from roistream.strategies.workers import run_in_parallel

SEGMENTS = Path("/dev/shm")


def shared_memory(image: Image, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Put the image into shared memory once; hand the workers its name.

    Handing over an array that lies in the segment would make joblib copy it into a second one. The segment goes with this
    process in any case: it is unlinked here, or by Python's resource tracker when this process is killed.
    """
    shape, dtype = (*image.grid, image.n_volumes), image.dtype
    size = math.prod(shape) * dtype.itemsize
    check_room(size)
    resource_tracker.ensure_running()  # or a process that is killed while it starts one leaves the segment behind
    segment = SharedMemory(create=True, size=size)
    try:
        reserve(segment)
        fill(segment, image)
        tasks = ((segment.name, shape, dtype, mask, cleaning) for mask in masks)
        return collect(run_in_parallel(n_jobs, attach_and_index, tasks), masks, cleaning)
    finally:
        segment.close()
        segment.unlink()


def fill(segment: SharedMemory, source: Image) -> None:
    """Load an image into a segment."""
    volumes = np.ndarray((source.n_volumes, source.n_voxels), source.dtype, segment.buf)
    try:
        for block in read_blocks(source):
            n_volumes, n_voxels = block.values.shape
            volumes[block.first_volume :, block.first_voxel :][:n_volumes, :n_voxels] = block.values
    finally:
        del volumes  # a segment cannot be closed while an array lies in it, nor can an error be told


def reserve(segment: SharedMemory) -> None:
    """Take all the pages of a segment at once: another job may have taken them since there was room enough."""
    if not SEGMENTS.is_dir():
        return
    descriptor = os.open(SEGMENTS / segment.name, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, segment.size)
    except OSError:
        raise no_room(segment.size) from None
    finally:
        os.close(descriptor)


def check_room(size: int) -> None:
    """Refuse a segment that cannot be had, before it is made.

    The operating system grants any size and ends the process with a bus error when the pages run out; and where the address
    space is limited, Python's own clean-up of a half-made segment fails noisily.
    """
    if SEGMENTS.is_dir() and shutil.disk_usage(SEGMENTS).free < size:
        raise no_room(size)
    mmap.mmap(-1, size).close()


def no_room(size: int) -> UserError:
    """Word that a segment cannot be had."""
    free = shutil.disk_usage(SEGMENTS).free
    return UserError(
        f"The image needs {size / 2**20:,.0f} MiB of shared memory, but {SEGMENTS} has {free / 2**20:,.0f} MiB free; "
        "enlarge it, or use the strategy 'stream'."
    )


def attach_and_index(
    name: str, shape: tuple[int, ...], dtype: np.dtype, mask: Mask, cleaning: Cleaning
) -> tuple[np.ndarray, int, int]:
    """Extract one region from the segment itself."""
    segment = SharedMemory(name=name)
    try:
        values = np.ndarray(shape, dtype, segment.buf, order="F")[load_mask(mask)]
    finally:
        segment.close()
    return region_time_series(values.T, cleaning)
