"""Brain masks: the voxels to which the regions of an image are restricted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.series import Series


def read_brain_masks(paths: Sequence[Path], source: Series) -> np.ndarray:
    """Read the masks of the runs of an image; what all of them have is inside.

    Parameters
    ----------
    paths : sequence of path
        Binary masks on the grid of the runs.
    source : Series
        The runs.

    Returns
    -------
    numpy.ndarray
        bool, the voxels of a volume in the order of the file (x fastest).

    Raises
    ------
    UserError
        A mask is unreadable, not binary or on another grid, or they have no voxel in common.
    """
    from roistream.regions.masks import read_voxels  # of no use to who has no masks

    common = np.ones(source.n_voxels, bool)
    for path in dict.fromkeys(paths):
        inside = np.zeros(source.n_voxels, bool)
        inside[read_voxels(path, source.grid, source.affine)] = True
        common &= inside
    if not common.any():
        listed = ", ".join(map(str, dict.fromkeys(paths)))
        raise UserError(f"No voxel is inside of the brain mask(s) {listed}; give the masks of these runs.")
    return common
