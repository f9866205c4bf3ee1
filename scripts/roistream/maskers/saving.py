"""Write the signals of a mask's voxels to a file while the image is read, for results that are larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roistream.errors import UserError
from roistream.maskers import nilearn_internals as internals
from roistream.maskers.blocks import blocks_of
from roistream.maskers.reductions import Masks
from roistream.maskers.steps import Steps
from roistream.outputs import whole_file

CLEANED_BYTES = 16 * 2**20
"""Budget of the series that are cleaned at a time."""


def extract_to_file(
    path: Path, series: Any, steps: Steps, extraction_function: Callable, options: Mapping[str, Any]
) -> tuple[np.ndarray, object]:
    """Extract the voxels of a mask into a ``.npy`` file, and give a memory map of it.

    Parameters
    ----------
    path : path
        The file; it appears when it is complete.
    series : nibabel image
        What to read.
    steps : Steps
        What to do to each volume.
    extraction_function : callable
        nilearn's, of a mask.
    options : mapping
        What ``nilearn.signal.clean`` is to be called with.

    Raises
    ------
    UserError
        The path does not end in ``.npy``.
    """
    if path.suffix != ".npy":
        raise UserError(f"{path} does not end in .npy, the format in which the signals are written; give such a name.")
    cleans = internals.changes(dict(options))
    with whole_file(path) as partial:
        raw = partial.with_suffix(".raw") if cleans else partial
        try:
            with raw.open("wb") as stream:
                aux = write_volumes(stream, series, steps, extraction_function)
            if cleans:
                clean_to_file(raw, partial, options)
        finally:
            if cleans:
                raw.unlink(missing_ok=True)
    found = np.load(path, mmap_mode="r+")
    return (found[0] if series.ndim == 3 else found), aux


def write_volumes(stream: BinaryIO, series: Any, steps: Steps, extraction_function: Callable) -> object:
    """Write the voxels of a mask, volume after volume; give what nilearn returns beside them.

    Written, not mapped: pages of a map would count as memory of this process, and a full disk would kill it.
    """
    picking: Any = None
    for values in blocks_of(series, steps.block_bytes):
        block = steps.take(values)
        if picking is None:
            picking = Masks(extraction_function, block.stand_in(series), 0)
            dtype = float_dtype(picking.signals.dtype)
            write_header(stream, ((*series.shape, 1)[3], picking.positions.size), dtype)
        stream.write(np.ascontiguousarray(picking.pick(block.values), dtype).data)
    return picking.aux


def write_header(stream: BinaryIO, shape: tuple[int, int], dtype: np.dtype) -> None:
    """Begin a ``.npy`` file."""
    described = {"shape": shape, "fortran_order": False, "descr": np.lib.format.dtype_to_descr(dtype)}
    np.lib.format.write_array_header_1_0(stream, described)


def float_dtype(dtype: np.dtype) -> np.dtype:
    """Tell in which type nilearn gives signals of voxels of a type."""
    return dtype if dtype.kind == "f" else np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)


def clean_to_file(raw: Path, path: Path, options: Mapping[str, Any]) -> None:
    """Clean the columns of an array in a ``.npy`` file, some at a time, into another one."""
    signals: Any = np.load(raw, mmap_mode="r")  # for what its header says
    n_volumes, n_voxels = signals.shape
    n_columns = max(1, CLEANED_BYTES // (8 * n_volumes))
    start = 0
    with raw.open("rb", buffering=0) as source, path.open("wb") as target:
        for first in range(0, n_voxels, n_columns):
            some = np.empty((n_volumes, min(n_columns, n_voxels - first)), signals.dtype)
            for number, row in enumerate(some):
                source.seek(signals.offset + (number * n_voxels + first) * some.itemsize)
                source.readinto(row.data)
            found = np.ascontiguousarray(internals.clean(np.asfortranarray(some), **options))
            if not start:
                write_header(target, (len(found), n_voxels), found.dtype)
                start = target.tell()
            for number, row in enumerate(found):
                target.seek(start + (number * n_voxels + first) * found.itemsize)
                target.write(row.data)
