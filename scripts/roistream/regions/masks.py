"""Binary masks, and where their voxels lie in a volume."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.files import open_stream
from roistream.images.grids import corner_distance, same_grid
from roistream.images.image import inspect_volume
from roistream.images.volumes import stream_blocks
from roistream.images.writing import new_header, write_image

MASK_BLOCK_BYTES = 2**16
"""Budget of the pieces in which a mask is read."""


def write_mask(mask: np.ndarray, affine: np.ndarray, path: str | Path) -> None:
    """Write a binary mask as uint8."""
    write_image(path, new_header(mask.shape, np.uint8, affine), [mask.astype(np.uint8).ravel(order="F")])


def read_voxels(path: str | Path, grid: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Read a binary mask, check that it lies on the image's grid, and locate its voxels.

    Parameters
    ----------
    path : path
        A 3D image that is 0 outside the region and one other value inside.
    grid : tuple of int
        The image's voxels along x, y, z.
    affine : numpy.ndarray
        The image's affine.

    Returns
    -------
    numpy.ndarray
        See `Mask.voxels`.

    Raises
    ------
    UserError
        The mask is unreadable, lies on another grid, or is not binary.
    """
    path = Path(path)
    mask = inspect_volume(path)
    if mask.grid != tuple(grid):
        raise UserError(
            f"{path} has the grid {mask.grid}, the image has {tuple(grid)}; resample the mask to the image."
        )
    if not same_grid(mask.grid, mask.affine, grid, affine):
        raise UserError(
            f"{path} has another affine than the image, by {corner_distance(grid, affine, mask.affine):.3g} voxels at a corner; "
            "resample the mask to the image."
        )
    found, inside = [], []
    # In small pieces: hundreds of masks whose arrays come and go cost the system more than reading them.
    with open_stream(mask.data_path) as stream:
        for block in stream_blocks(stream, mask.layout, str(path), MASK_BLOCK_BYTES):
            [values] = block.values
            positions = np.flatnonzero(values != 0)
            if positions.size:
                found.append(positions + block.first_voxel)
                inside.append(values[positions])
    if not found:
        return np.empty(0, np.int64)
    voxels, inside = np.concatenate(found), np.concatenate(inside)
    if not (inside == inside[0]).all():
        raise UserError(f"{path} holds more than one value beside 0; give one binary mask for each region.")
    in_c_order = np.ravel_multi_index(np.unravel_index(voxels, grid, order="F"), grid)
    return voxels[np.argsort(in_c_order)]


@dataclass(frozen=True)
class Mask:
    """A region's mask as the strategies receive it.

    Attributes
    ----------
    path : pathlib.Path
        The mask's file.
    voxels : numpy.ndarray
        int64; where the region's voxels lie in a volume of the file (x fastest), in the order of the time series' columns,
        which is C order of the mask (z fastest).
    """

    path: Path
    voxels: np.ndarray
