"""Maps, one for each region, of which only the values other than 0 are held: a 4D atlas, read map by map."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from scipy import sparse

from roistream.maskers.blocks import blocks_of
from roistream.maskers.lazy import LazyData, as_image
from roistream.regions.maps import gather

DENSE = 0.3
"""Share of values other than 0 from which on maps are better held as they are."""


class SparseMaps(LazyData):
    """The data of a 4D image.

    Parameters
    ----------
    columns : scipy.sparse.csc_array
        ``(n_voxels, n_maps)``, voxels in the order of a file (x fastest).
    grid : tuple of int
        Voxels along x, y, z.
    """

    def __init__(self, columns: sparse.csc_array, grid: tuple[int, ...]):
        self.columns = columns
        super().__init__((*grid, columns.shape[1]), columns.dtype)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self.columns.toarray(order="F").astype(dtype or self.dtype, copy=False).reshape(self.shape, order="F")

    def __getitem__(self, item: Any) -> np.ndarray:
        last = item[-1] if isinstance(item, tuple) else None
        whole = isinstance(item, tuple) and all(part in (Ellipsis, slice(None)) for part in item[:-1])
        if whole and isinstance(last, int | np.integer):
            return self.columns[:, [int(last)]].toarray().reshape(self.shape[:3], order="F")
        return np.asarray(self)[item]


def sparsely(maps_img: nib.Nifti1Pair) -> nib.Nifti1Image | None:
    """Read a 4D image of maps, one after the other; None where it is better held as it is."""
    columns = gather((row for values in blocks_of(maps_img) for row in values), maps_img.shape[:3], DENSE)
    return None if columns is None else as_image(SparseMaps(columns, maps_img.shape[:3]), maps_img)


def columns_of(maps_img: nib.Nifti1Pair) -> sparse.csc_array:
    """Give maps as the columns of a sparse array."""
    if isinstance(maps_img.dataobj, SparseMaps):
        return maps_img.dataobj.columns
    columns = gather((row for values in blocks_of(maps_img) for row in values), maps_img.shape[:3])
    assert columns is not None
    return columns
