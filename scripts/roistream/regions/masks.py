"""Where the voxels of regions lie in a volume, after binary masks or the labels of an atlas."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.files import called, open_stream
from roistream.images.grids import corner_distance, same_grid
from roistream.images.image import Image, inspect_volume, tell
from roistream.images.volumes import stream_blocks
from roistream.images.writing import new_header, write_image
from roistream.regions.atlas import LEAST_OFF, not_finite_remark, read_label_image, tolerance_of

MASK_BLOCK_BYTES = 2**16
"""Budget of the pieces in which a mask is read."""


def write_mask(mask: np.ndarray, affine: np.ndarray, path: str | Path) -> None:
    """Write a binary mask as uint8."""
    write_image(path, new_header(mask.shape, np.uint8, affine), [mask.astype(np.uint8).ravel(order="F")])


def read_voxels(path: str | Path, grid: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Read a binary mask, check that it lies on the image's grid, locate its voxels, and tell what is odd about it.

    Parameters
    ----------
    path : path
        A 3D image that is 0 outside the region and one other value inside; what is not finite is outside.
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
    mask = inspect_volume(Path(path))
    check_fits(mask, grid, affine, "mask")
    voxels, remarks = find_inside(mask)
    tell(mask.remarks + remarks)
    in_c_order = np.ravel_multi_index(np.unravel_index(voxels, grid, order="F"), grid)
    return voxels[np.argsort(in_c_order)]


def read_mask(path: str | Path) -> np.ndarray:
    """Read a binary mask as `read_voxels` does, without a word: bool, 3D, in Fortran order."""
    mask = inspect_volume(Path(path))
    inside = np.zeros(mask.n_voxels, bool)
    inside[find_inside(mask)[0]] = True
    return inside.reshape(mask.grid, order="F")


def find_inside(mask: Image) -> tuple[np.ndarray, tuple[str, ...]]:
    """Find which voxels of the file are inside a binary mask, in its order; give also what is odd about its values."""
    tolerance = tolerance_of(mask.layout)
    found, inside, n_not_finite, n_near = [], [], 0, 0
    # In small pieces: hundreds of masks whose arrays come and go cost the system more than reading them.
    with open_stream(mask.data_path) as stream:
        for block in stream_blocks(stream, mask.layout, called(mask.path), MASK_BLOCK_BYTES):
            [values] = block.values
            positions = np.flatnonzero(values != 0)
            if not positions.size:
                continue
            values = values[positions]
            if values.dtype.kind == "f":
                finite = np.isfinite(values)
                far = finite & (np.abs(values) > tolerance)
                n_not_finite += values.size - int(np.count_nonzero(finite))
                n_near += int(np.count_nonzero(finite & ~far))
                positions, values = positions[far], values[far]
            found.append(positions + block.first_voxel)
            inside.append(values)
    voxels, values = (np.concatenate(pieces) if pieces else np.empty(0, np.int64) for pieces in (found, inside))
    remarks = [not_finite_remark(n_not_finite, mask.path)] if n_not_finite else []
    spread = values.max() - values.min() if values.size else 0
    if spread > 2 * tolerance + LEAST_OFF * (values.dtype.kind == "f") * np.abs(values).max(initial=0):
        raise UserError(f"{mask.path} holds more than one value beside 0; give one binary mask for each region.")
    if spread or n_near:
        remarks.append(f"{mask.path}: its values are off by rounding and count as 0 and one other")
    return voxels, tuple(remarks)


def check_fits(volume: Image, grid: tuple[int, int, int], affine: np.ndarray, kind: str) -> None:
    """Refuse a mask or an atlas (`kind`) that does not lie on the image's grid."""
    if volume.grid != tuple(grid):
        raise UserError(
            f"{volume.path} has the grid {volume.grid}, the image has {tuple(grid)}; resample the {kind} to the image."
        )
    if not same_grid(volume.grid, volume.affine, grid, affine):
        apart = corner_distance(grid, affine, volume.affine)
        bare = "" if volume.oriented else " (its header has no orientation code)"
        raise UserError(
            f"{volume.path} has another affine than the image, by {apart:.3g} voxels at a corner{bare}; "
            f"resample the {kind} to the image."
        )


def locate_labels(
    atlas: str | Path, labels: Sequence[int], grid: tuple[int, int, int], affine: np.ndarray
) -> list[np.ndarray]:
    """Locate the voxels of all regions with one look at the atlas that they are the labels of.

    Parameters
    ----------
    atlas : path
        A label image on the image's grid.
    labels : sequence of int
        The regions, in order.
    grid, affine
        The image's.

    Returns
    -------
    list of numpy.ndarray
        For each region what `read_voxels` gives for its mask; without voxels where the atlas does not have the label.

    Raises
    ------
    UserError
        The atlas is unreadable, no label image, or lies on another grid.
    """
    image = read_label_image(atlas)
    check_fits(image.header, grid, affine, "atlas")
    tell(image.remarks)
    values = image.labels.ravel()
    inside = np.flatnonzero(np.isin(values, labels))
    inside = inside[np.argsort(values[inside], kind="stable")]
    voxels = np.ravel_multi_index(np.unravel_index(inside, grid), grid, order="F")
    first, end = (np.searchsorted(values[inside], labels, side) for side in ("left", "right"))
    return [voxels[piece] for piece in map(slice, first, end)]


@dataclass(frozen=True)
class Mask:
    """A region's mask as the strategies receive it.

    Attributes
    ----------
    path : pathlib.Path or None
        The mask's file; None for strategies that do without (see `roistream.strategies.Strategy`).
    voxels : numpy.ndarray
        int64; where the region's voxels lie in a volume of the file (x fastest), in the order of the time series' columns,
        which is C order of the mask (z fastest).
    region : str
        What messages call a mask that has no file.
    seen : dict
        What a strategy has seen in the region: ``n_constant_voxels``.
    """

    path: Path | None
    voxels: np.ndarray
    region: str = ""
    seen: dict[str, int] = field(default_factory=dict, compare=False)

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.path.name if self.path else self.region
