"""Reduce volumes to the mean of the voxels around each seed, as nilearn's NiftiSpheresMasker does, to the last bit."""

from collections.abc import Sequence

import numpy as np


def average(values: np.ndarray, spheres: Sequence[np.ndarray], dtype: np.dtype, alone: bool = False) -> np.ndarray:
    """Average some volumes, summing as numpy does over the columns of the whole image: voxel after voxel.

    Parameters
    ----------
    values : numpy.ndarray
        ``(n_volumes, n_voxels)``, finite values.
    spheres : sequence of numpy.ndarray
        For each the columns of `values` that are its voxels, in C order of the volume (z fastest).
    dtype : numpy.dtype
        Of the result.
    alone : bool
        Whether the image has no other volumes: of a single row numpy's sum is another.

    Returns
    -------
    numpy.ndarray
        ``(n_volumes, n_spheres)``; NaN for a sphere without a voxel.
    """
    n = len(values)
    if n == 1 and not alone:
        values = np.repeat(values, 2, axis=0)
    found = np.full((n, len(spheres)), np.nan if np.dtype(dtype).kind == "f" else 0, dtype)
    for number, voxels in enumerate(spheres):
        if voxels.size:
            with np.errstate(invalid="ignore"):
                found[:, number] = np.mean(np.asfortranarray(values[:, voxels]), axis=1)[:n]
    return found
