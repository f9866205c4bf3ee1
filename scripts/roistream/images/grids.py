"""Where the voxels of an image lie: which grids are one and the same, and what a grid is called in a path."""

import hashlib
import itertools

import numpy as np

SAME_GRID = 1e-3
"""Voxels by which the corners of one grid may differ: far above rounding to float32, far below what matters."""


def corner_distance(grid: tuple[int, ...], affine: np.ndarray, other_affine: np.ndarray) -> float:
    """Measure how far apart two affines put a volume.

    Parameters
    ----------
    grid : tuple of int
        Voxels along x, y, z.
    affine, other_affine : numpy.ndarray
        4 × 4, in mm.

    Returns
    -------
    float
        Distance between both places of that outer corner (half a voxel beyond the outermost centres) which moves most, in
        voxels of the first affine. No point of the volume moves more.
    """
    corners = np.array([(*corner, 1.0) for corner in itertools.product(*((-0.5, n - 0.5) for n in grid))])
    moved = np.linalg.solve(affine, other_affine) @ corners.T - corners.T
    return float(np.linalg.norm(moved[:3], axis=0).max())


def same_grid(grid: tuple[int, ...], affine: np.ndarray, other_grid: tuple[int, ...], other_affine: np.ndarray) -> bool:
    """Tell whether two grids are one: the same shape, and no corner further off than a thousandth of a voxel.

    Runs and masks are compared by this, and an atlas on the same grid stays as it is. A header rounded to float32, or one with a
    quaternion, is the same as the header that it was made from. There is one exception: a quaternion that turns by nearly but
    not quite 180°, as for slightly oblique images from right to left, loses digits that it needs; a corner can then really be
    off by a tenth of a voxel, in every program that follows the header.

    Parameters
    ----------
    grid, other_grid : tuple of int
        Voxels along x, y, z.
    affine, other_affine : numpy.ndarray
        4 × 4, in mm, not singular.
    """
    return tuple(grid) == tuple(other_grid) and corner_distance(grid, affine, other_affine) <= SAME_GRID


def grid_id(grid: tuple[int, ...], affine: np.ndarray) -> str:
    """Name a grid in a path.

    Parameters
    ----------
    grid : tuple of int
        Voxels along x, y, z.
    affine : numpy.ndarray
        4 × 4, in mm.

    Returns
    -------
    str
        12 hexadecimal digits. Equal ones mean `same_grid`: the affine is rounded so finely that no corner moves by more than a
        fraction of `SAME_GRID`. Headers that round one grid differently nearly always have the same one, too.
    """
    step = SAME_GRID / 8 * np.linalg.norm(affine[:3, :3], axis=0).min() / max(grid)
    digits = int(np.floor(-np.log10(step)))
    rounded = np.round(np.asarray(affine, np.float64)[:3], digits) + 0.0  # -0.0 is 0
    return hashlib.sha256(f"{tuple(map(int, grid))} {digits} {rounded.tolist()}".encode()).hexdigest()[:12]
