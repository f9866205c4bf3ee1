"""Write the signals of a mask's voxels to a file while the image is read, for results that are larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
    n_volumes = (*series.shape, 1)[3]
    with whole_file(path) as partial:
        signals: Any = None
        picking: Any = None
        first = 0
        raw = partial if not internals.changes(dict(options)) else partial.with_suffix(".raw")
        try:
            for values in blocks_of(series, steps.block_bytes):
                block = steps.take(values)
                if picking is None:
                    picking = Masks(extraction_function, block.stand_in(series), 0)
                    n_voxels = picking.positions.size
                    dtype = float_dtype(picking.signals.dtype)
                    signals = np.lib.format.open_memmap(raw, "w+", dtype, (n_volumes, n_voxels))
                signals[first : first + len(values)] = picking.pick(block.values)
                first += len(values)
            if raw is not partial:
                clean_to_file(signals, partial, options)
            signals.flush()
        finally:
            if raw is not partial:
                raw.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r+"), picking.aux


def float_dtype(dtype: np.dtype) -> np.dtype:
    """Tell in which type nilearn gives signals of voxels of a type."""
    return dtype if dtype.kind == "f" else np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)


def clean_to_file(signals: np.ndarray, path: Path, options: Mapping[str, Any]) -> None:
    """Clean the columns of an array, some at a time, into a file."""
    n_columns = max(1, CLEANED_BYTES // (8 * len(signals)))
    cleaned: Any = None
    for first in range(0, signals.shape[1], n_columns):
        some = np.s_[:, first : first + n_columns]
        found = internals.clean(np.asfortranarray(signals[some]), **options)
        if cleaned is None:
            cleaned = np.lib.format.open_memmap(path, "w+", found.dtype, (len(found), signals.shape[1]))
        cleaned[some] = found
    cleaned.flush()
