"""Go through any image that nilearn takes, block by block, wherever its data are.

Files that `roistream.images` can read are read by it; what is in memory already is handed out in slices.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from roistream.errors import UserError
from roistream.images.image import Image, describe
from roistream.images.volumes import BLOCK_BYTES, read_blocks


def file_behind(image: nib.Nifti1Pair) -> Image | None:
    """Find the file that holds the data of an image; None if they are in memory, or if only nibabel can read it."""
    data = image.dataobj
    if type(data) is not ArrayProxy or getattr(image, "_data_cache", None) is not None:
        return None
    if not isinstance(data.file_like, str | os.PathLike):
        return None
    try:
        file, shape = describe(Path(data.file_like), 4)
    except UserError:
        return None
    layout = file.layout
    here = (shape, layout.raw_dtype, layout.offset, layout.slope, layout.inter)
    return file if here == (image.shape, data.dtype, data.offset, data.slope, data.inter) else None


def is_readable(image: object) -> bool:
    """Tell whether an image can be read block by block; else nilearn must read it."""
    if not isinstance(image, nib.Nifti1Pair) or image.ndim not in (3, 4) or 0 in image.shape:
        return False
    if hasattr(image.dataobj, "blocks"):
        return True
    return isinstance(array_of(image), np.ndarray) or file_behind(image) is not None


def array_of(image: nib.Nifti1Pair) -> Any:
    """Give the array of an image in memory; nilearn keeps what it has once loaded in a place of its own."""
    data: Any = getattr(image, "_data_cache", None)
    return image.dataobj if data is None else data


def blocks_of(image: nib.Nifti1Pair, max_bytes: int = BLOCK_BYTES) -> Iterator[np.ndarray]:
    """Go through the volumes of an image once.

    Parameters
    ----------
    image : nibabel image
        3D or 4D, see `is_readable`.
    max_bytes : int
        Budget of a block; at least one volume is read.

    Yields
    ------
    numpy.ndarray
        ``(n_volumes, n_voxels)``, voxels in the order of a file (x fastest); of the type that nibabel gives. To be looked at,
        not to be changed, until the next is asked for.
    """
    if hasattr(image.dataobj, "blocks"):  # a series
        yield from image.dataobj.blocks(max_bytes)
        return
    file = file_behind(image)
    if file is not None:
        for block in read_blocks(file, max_bytes, whole_volumes=True):
            yield block.values
        return
    array = np.asarray(array_of(image))
    array = array.reshape((*array.shape[:3], -1))
    n_volumes = max(1, max_bytes // (array.dtype.itemsize * max(1, array[..., 0].size)))
    for first in range(0, array.shape[3], n_volumes):
        volumes = array[..., first : first + n_volumes]
        yield volumes.reshape((-1, volumes.shape[3]), order="F").T
