"""Smooth volumes in space, block by block, with nilearn's own arithmetic; each volume is smoothed by itself."""

import numpy as np

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
