"""Smooth volumes in space, block by block, with nilearn's own arithmetic; each volume is smoothed by itself."""

import logging
from pathlib import Path

import numpy as np

logger = logging.getLogger("roistream")

SMOOTHING_BLOCK_BYTES = 16 * 2**20
"""Budget of a block that is smoothed: nilearn makes several copies of it."""


def smooth(values: np.ndarray, grid: tuple[int, int, int], affine: np.ndarray, fwhm: float) -> np.ndarray:
    """Smooth whole volumes with a Gaussian.

    Parameters
    ----------
    values : numpy.ndarray
        ``(n_volumes, n_voxels)``, voxels in the order of the file (x fastest).
    grid : tuple of int
        Voxels along x, y, z.
    affine : numpy.ndarray
        4 × 4, in mm.
    fwhm : float
        Full width at half maximum, in mm.

    Returns
    -------
    numpy.ndarray
        Of the same shape, in the type in which nilearn smooths.
    """
    import nibabel as nib
    from nilearn.image import smooth_img  # slow to import, and of no use to who does not smooth

    volumes = values.T.reshape((*grid, -1), order="F")
    smoothed = np.asarray(smooth_img(nib.Nifti1Image(volumes, affine, dtype=volumes.dtype), fwhm).dataobj)
    return smoothed.reshape((values.shape[1], -1), order="F").T


def tell_smoothed(n_not_finite: int, image: Path) -> None:
    """Tell how many values of an image, in regions or not, count as 0 in the smoothing and so in the values around them."""
    if n_not_finite:
        logger.warning(
            "%s: %d values of the whole image were not finite; smoothing takes them for 0.", image, n_not_finite
        )
