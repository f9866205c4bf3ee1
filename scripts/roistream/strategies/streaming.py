"""One sequential pass over the image, which fills all regions at once."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from roistream.cleaning import Cleaning, as_float32, clean_time_series, finite_values, report_not_finite
from roistream.progress import progress
from roistream.regions import Mask
from roistream.volumes import Block, Image, inspect, read_blocks

SMOOTHING_BLOCK_BYTES = 16 * 2**20
"""Budget of a block that is smoothed: nilearn makes several copies of it."""


def stream(image: Path, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning) -> list[np.ndarray]:
    """Read the image once, block by block; hold nothing but a block and the regions.

    `n_jobs` is not used: the pass is as fast as the image can be decompressed, which one process does best, and regions
    are cleaned one after the other, so that only one is held twice.
    """
    source = inspect(image)
    wanted = np.concatenate([mask.voxels for mask in masks])
    ends = np.cumsum([mask.voxels.size for mask in masks])
    columns = [slice(end - mask.voxels.size, end) for end, mask in zip(ends, masks, strict=True)]
    dtype = np.float64 if cleaning.temporal and source.layout.dtype.itemsize > 4 else np.float32
    arrays = [np.empty((source.n_volumes, mask.voxels.size), dtype) for mask in masks]
    n_not_finite = [0] * len(masks)
    for first_volume, values in gather(source, wanted, cleaning.smoothing_fwhm):
        finite, not_finite = finite_values(values)
        if dtype == np.float32:
            finite = as_float32(finite)
        for number, (array, piece) in enumerate(zip(arrays, columns, strict=True)):
            array[first_volume : first_volume + len(finite)] = finite[:, piece]
            if not_finite is not None:
                n_not_finite[number] += int(np.count_nonzero(not_finite[:, piece]))
    for number, mask in enumerate(masks):
        report_not_finite(mask, n_not_finite[number], arrays[number].size)
        arrays[number] = clean_time_series(arrays[number], cleaning)
    return arrays


def gather(source: Image, wanted: np.ndarray, smoothing_fwhm: float | None) -> Iterator[tuple[int, np.ndarray]]:
    """Go through the image and pick voxels out of each volume.

    Parameters
    ----------
    source : Image
        The image.
    wanted : numpy.ndarray
        Positions in a volume of the file; they may occur more than once and in any order.
    smoothing_fwhm : float or None
        Smooth each volume first, in mm.

    Yields
    ------
    first_volume : int
        Where the piece begins.
    values : numpy.ndarray
        ``(n_volumes, wanted.size)``.
    """
    by_position = np.argsort(wanted, kind="stable")
    positions = wanted[by_position]
    for block in blocks_of(source, smoothing_fwhm):
        if block.values.shape[1] == source.layout.n_voxels:
            yield block.first_volume, np.take(block.values, wanted, axis=1)
            continue
        # A part of a volume that is larger than the budget: collect the parts of one volume.
        if block.first_voxel == 0:
            volume = np.empty((1, wanted.size), block.values.dtype)
        end = block.first_voxel + block.values.shape[1]
        within = slice(*np.searchsorted(positions, (block.first_voxel, end)))
        volume[0, by_position[within]] = block.values[0, positions[within] - block.first_voxel]
        if end == source.layout.n_voxels:
            yield block.first_volume, volume


def blocks_of(source: Image, smoothing_fwhm: float | None) -> Iterator[Block]:
    """Read the image block by block, smoothed if that is asked for."""
    if smoothing_fwhm is None:
        yield from progress(read_blocks(source), source, "reading")
        return
    import nibabel as nib
    from nilearn.image import smooth_img

    for block in progress(read_blocks(source, SMOOTHING_BLOCK_BYTES, whole_volumes=True), source, "smoothing"):
        volumes = block.values.T.reshape((*source.grid, -1), order="F")
        smoothed = smooth_img(nib.Nifti1Image(volumes, source.affine, dtype=volumes.dtype), smoothing_fwhm)
        values = np.asarray(smoothed.dataobj)
        yield Block(block.first_volume, 0, values.reshape((source.layout.n_voxels, -1), order="F").T)
