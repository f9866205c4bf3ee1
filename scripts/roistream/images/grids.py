"""The one comparison of grids: when two images have their voxels in the same places, and a name for such a place."""

import hashlib
import itertools

import numpy as np

TOLERANCE = 1e-3
"""Of a voxel: what a corner of the volume may be off. Far above what rounding to float32 or a quaternion does to a header."""


def corner_distance(grid: tuple[int, ...], affine: np.ndarray, other: np.ndarray) -> float:
    """Measure how far the corners of a volume are off if another affine is used for it.

    Parameters
    ----------
    grid : tuple of int
        Voxels along x, y, z.
    affine, other : numpy.ndarray
        4 × 4, in mm.

    Returns
    -------
    float
        The largest distance of a corner of the volume (the outer faces of its voxels), in voxels of the first affine along the
        axis on which it is off most.
    """
    corners = np.array([(*corner, 1) for corner in itertools.product(*((-0.5, n - 0.5) for n in grid))])
    apart = np.linalg.solve(affine[:3, :3], ((other - affine) @ corners.T)[:3])
    return float(np.abs(apart).max())


def same_grid(grid: tuple[int, ...], affine: np.ndarray, other_grid: tuple[int, ...], other: np.ndarray) -> bool:
    """Tell whether two grids are one: the same voxels, and no corner of the volume further off than `TOLERANCE`."""
    return tuple(grid) == tuple(other_grid) and corner_distance(grid, affine, other) <= TOLERANCE


def grid_id(grid: tuple[int, ...], affine: np.ndarray) -> str:
    """Name a grid by 12 hexadecimal digits.

    Grids with the same name are the same grid: the affine is rounded so finely that no corner moves by more than a fraction of
    `TOLERANCE`. (Two that differ by rounding only may, very seldom, have different names.)
    """
    step = TOLERANCE / 8 * np.linalg.norm(affine[:3, :3], axis=0).min() / max(grid)
    digits = int(np.floor(-np.log10(step)))
    rounded = np.round(affine[:3], digits) + 0.0  # no -0.0
    return hashlib.sha256(f"{tuple(map(int, grid))} {digits} {rounded.tolist()}".encode()).hexdigest()[:12]
