"""One sequential pass over the image, which fills all regions at once."""

import errno
import itertools
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import (
    clean_time_series,
    finite_values,
    report_constant,
    report_not_finite,
    working_dtype,
)
from roistream.images.image import Image
from roistream.images.progress import progress
from roistream.images.series import Series
from roistream.images.smoothing import SMOOTHING_BLOCK_BYTES, smooth, tell_smoothed
from roistream.images.volumes import Block, as_float32, read_blocks
from roistream.outputs import naming
from roistream.regions.constant import ConstantWatch
from roistream.regions.masks import Mask

SCRATCH = ".partial-stream-"
"""How the names of folders begin that hold the regions' files while they grow."""

BATCH_BYTES = 8 * 2**20
"""Budget of the regions' values that are written at a time; two of these exist, one of them being written by a thread."""


def stream(
    image: Image | Series, masks: Sequence[Mask], n_jobs: int, cleaning: Cleaning, folder: Path | None = None
) -> Iterator[np.ndarray]:
    """Read the image or its runs once, block by block; hold neither it nor the time series, which grow in files.

    Without temporal cleaning the arrays are memory maps of ``.npy`` files; who wants to keep a file moves it before asking for
    the next array. Regions to be cleaned are read back one after the other.

    `n_jobs` is not used: the pass is as fast as one thread can decompress the image while another picks the voxels.

    Parameters
    ----------
    folder : path, optional
        Where the files may lie meanwhile; the system's place for temporary files by default.
    """
    dtype = working_dtype(image.dtype) if cleaning.temporal else np.dtype(np.float32)
    with scratch_folder(folder) as scratch:
        files = [scratch / f"{number}.npy" for number in range(len(masks))]
        with naming(scratch):
            odd = pick_voxels(image, masks, cleaning, dtype, files)
        for mask, file, (n_not_finite, n_constant) in zip(masks, files, odd, strict=True):
            shape = (image.n_volumes, mask.voxels.size)
            report_not_finite(mask, n_not_finite, math.prod(shape))
            report_constant(mask, n_constant, cleaning)
            # As np.load does, without parsing the header that was written here.
            offset = file.stat().st_size - math.prod(shape) * dtype.itemsize
            if cleaning.temporal:
                yield clean_time_series(np.fromfile(file, dtype, offset=offset).reshape(shape), cleaning)
            else:
                yield np.memmap(file, dtype, "r", offset, shape)
            file.unlink(missing_ok=True)


@contextmanager
def scratch_folder(folder: Path | None) -> Iterator[Path]:
    """Make a folder for a while, after clearing up what killed processes have left there.

    Its name is new each time: a process that was given up for dead, but still runs on some node of a cluster, must not append
    to the files of its successor. It finds its own gone, and fails.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as unnamed:
            yield Path(unnamed)
        return
    is_new = not folder.exists()
    for left_behind in folder.glob(f"{SCRATCH}*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # it holds results
                folder.rmdir()


def pick_voxels(
    source: Image | Series, masks: Sequence[Mask], cleaning: Cleaning, dtype: np.dtype, files: Sequence[Path]
) -> list[tuple[int, int]]:
    """Write the values of each region, volume by volume, to a ``.npy`` file of its own.

    Returns
    -------
    list of tuple
        How many values of each region were not finite, and how many of its voxels are constant over a run.
    """
    ends = np.cumsum([mask.voxels.size for mask in masks])
    columns = [slice(end - mask.voxels.size, end) for end, mask in zip(ends, masks, strict=True)]
    n_not_finite = np.zeros(ends[-1], np.int64)
    constant = ConstantWatch(ends[-1], cleaning.part_lengths(source.n_volumes))
    n_rows = max(1, min(BATCH_BYTES // (ends[-1] * dtype.itemsize), source.n_volumes))
    batches = itertools.cycle(np.empty((2, n_rows, ends[-1]), dtype))
    batch, n_filled = next(batches), 0
    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(begin, masks, source.n_volumes, dtype, files)
        wanted = np.concatenate([mask.voxels for mask in masks])
        for values in gather(source, wanted, cleaning.smoothing_fwhm, n_not_finite):
            finite, not_finite = finite_values(values)
            if not_finite is not None:
                n_not_finite += np.count_nonzero(not_finite, axis=0)
            constant.look(finite)
            if dtype == np.float32:
                finite = as_float32(finite)
            while len(finite):
                taken = finite[: n_rows - n_filled]
                batch[n_filled : n_filled + len(taken)] = taken
                finite, n_filled = finite[len(taken) :], n_filled + len(taken)
                if n_filled == n_rows:
                    writing.result()
                    writing = writer.submit(append, batch, columns, files)
                    batch, n_filled = next(batches), 0
        writing.result()
    append(batch[:n_filled], columns, files)
    return [(int(n_not_finite[piece].sum()), int(constant.found[piece].sum())) for piece in columns]


def begin(masks: Sequence[Mask], n_volumes: int, dtype: np.dtype, files: Sequence[Path]) -> None:
    """Begin each region's ``.npy`` file with the header of an array ``(n_volumes, n_voxels)``."""
    for mask, file in zip(masks, files, strict=True):
        layout = {"descr": dtype.str, "fortran_order": False, "shape": (n_volumes, mask.voxels.size)}
        with file.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, layout)


def append(batch: np.ndarray, columns: Sequence[slice], files: Sequence[Path]) -> None:
    """Append each region's columns to its file.

    By the system's calls, which take half of the time of Python's file objects, some ten thousand times. Files are opened
    anew: there may be more regions than a process may open. They must be there: see `scratch_folder`.
    """
    for piece, file in zip(columns, map(str, files), strict=True):
        values = np.ascontiguousarray(batch[:, piece])
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
        try:
            n_written = os.write(descriptor, values)
        finally:
            os.close(descriptor)
        if n_written < values.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file)


def gather(
    source: Image | Series, wanted: np.ndarray, smoothing_fwhm: float | None, n_not_finite: np.ndarray
) -> Iterator[np.ndarray]:
    """Go through the image and pick voxels out of each volume.

    Parameters
    ----------
    source : Image or Series
        The image.
    wanted : numpy.ndarray
        Positions in a volume of the file; they may occur more than once and in any order.
    smoothing_fwhm : float or None
        Smooth each volume first, in mm.
    n_not_finite : numpy.ndarray
        int64; for each position the values that were not finite before the smoothing are added to it.

    Yields
    ------
    numpy.ndarray
        ``(n_volumes, wanted.size)``, the next volumes. Valid until the next piece is asked for: its memory is then used again,
        which spares the system some hundred thousand pages.
    """
    by_position = np.argsort(wanted, kind="stable")
    positions = wanted[by_position]
    picked: np.ndarray | None = None
    for block in blocks_of(source, wanted, smoothing_fwhm, n_not_finite):
        if block.values.shape[1] == source.n_voxels:
            if picked is None or len(picked) < len(block.values):  # a first run may be shorter than a block
                picked = np.empty((len(block.values), wanted.size), block.values.dtype)
            # All positions lie in the volume; "clip" is the mode in which numpy needs no array of its own.
            yield np.take(block.values, wanted, axis=1, out=picked[: len(block.values)], mode="clip")
            continue
        # A part of a volume that is larger than the budget: collect the parts of one volume.
        if block.first_voxel == 0:
            volume = np.empty((1, wanted.size), block.values.dtype)
        end = block.first_voxel + block.values.shape[1]
        within = slice(*np.searchsorted(positions, (block.first_voxel, end)))
        volume[0, by_position[within]] = block.values[0, positions[within] - block.first_voxel]
        if end == source.n_voxels:
            yield volume


def blocks_of(
    source: Image | Series, wanted: np.ndarray, smoothing_fwhm: float | None, n_not_finite: np.ndarray
) -> Iterator[Block]:
    """Read the image block by block, smoothed if that is asked for; see `gather`."""
    if smoothing_fwhm is None:
        yield from progress(read_blocks(source), source, "reading")
        return
    n_in_all = 0
    for block in progress(read_blocks(source, SMOOTHING_BLOCK_BYTES, whole_volumes=True), source, "smoothing"):
        if block.values.dtype.kind == "f":
            not_finite = ~np.isfinite(block.values)
            if not_finite.any():
                n_in_all += int(np.count_nonzero(not_finite))
                n_not_finite += np.count_nonzero(not_finite[:, wanted], axis=0)
        yield Block(block.first_volume, 0, smooth(block.values, source.grid, source.affine, smoothing_fwhm))
    tell_smoothed(n_in_all, source.path)
