"""Put an atlas on the grid of an image: nearest neighbour by the affines, and nothing else.

A voxel of the image gets the label of that voxel of the atlas in which its centre lies. The atlas reaches from the outer face of
its first voxel to the outer face of its last: half a voxel further than the centres, between which interpolation would stop.

Where a centre lies on the face between two voxels, the one with the higher index along that axis has it; but the outermost
face belongs to the last voxel. Headers are rounded, so a centre counts as on a face if it is `FACE` or less away from it.
"""

from collections.abc import Iterator

import numpy as np

from roistream.images.grids import same_grid

FACE = 1e-4
"""Of a voxel: how near to a face a centre counts as on it."""


def nearest_slices(
    grid: tuple[int, ...], affine: np.ndarray, other_grid: tuple[int, ...], other_affine: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Find, slice by slice along z, in which voxel of another grid the centres of a grid's voxels lie.

    Parameters
    ----------
    grid, affine
        Voxels along x, y, z, and 4 × 4 in mm.
    other_grid, other_affine
        Of the other grid.

    Yields
    ------
    inside : numpy.ndarray
        bool, ``(nx, ny)``: whether the centre lies in a voxel of the other grid at all.
    index : numpy.ndarray
        int64, ``(3, nx, ny)``: which one; meaningless where it lies in none.
    """
    to_other = np.linalg.inv(other_affine) @ affine
    if same_grid(grid, affine, other_grid, other_affine):
        to_other = np.eye(4)
    in_plane = to_other[:3, :2] @ np.indices(grid[:2]).reshape(2, -1)
    ends = np.reshape(other_grid, (3, 1))
    for z in range(grid[2]):
        # From the outer face of the first voxel on: a voxel reaches from its index to the next.
        position = in_plane + (to_other[:3, 2] * z + to_other[:3, 3] + 0.5)[:, np.newaxis]
        nearest = np.rint(position)
        position = np.where(np.abs(position - nearest) <= FACE, nearest, position)
        inside = ((position >= 0) & (position <= ends)).all(axis=0)
        index = np.minimum(np.floor(position), ends - 1).astype(np.int64)
        yield inside.reshape(grid[:2]), index.reshape(3, *grid[:2])


def place_labels(
    labels: np.ndarray, affine: np.ndarray, grid: tuple[int, int, int], target_affine: np.ndarray
) -> np.ndarray:
    """Put a label image on a grid.

    Parameters
    ----------
    labels : numpy.ndarray
        int, 3D; 0 is the background.
    affine : numpy.ndarray
        Its affine, in mm.
    grid : tuple of int
        Voxels of the target along x, y, z.
    target_affine : numpy.ndarray
        The target's affine, in mm.

    Returns
    -------
    numpy.ndarray
        int32, of the target's shape; 0 where a voxel's centre lies outside of the atlas.
    """
    placed = np.zeros(grid, np.int32, order="F")
    for z, (inside, index) in enumerate(nearest_slices(grid, target_affine, labels.shape, affine)):
        x, y, z_atlas = index[:, inside]
        placed[..., z][inside] = labels[x, y, z_atlas]
    return placed


def locate_atlas_voxels(
    labels: np.ndarray,
    affine: np.ndarray,
    grid: tuple[int, int, int],
    target_affine: np.ndarray,
    wanted: list[int],
) -> np.ndarray:
    """Find for each voxel of the wanted regions, on the atlas's own grid, in which voxel of the target its centre lies.

    Parameters
    ----------
    labels, affine, grid, target_affine
        As in `place_labels`.
    wanted : list of int
        Labels of the regions, in order; none comes twice.

    Returns
    -------
    numpy.ndarray
        int32, ``(n, 2)``: the number of the region in `wanted`, and the position of the target's voxel in a volume of its file
        (x fastest), -1 outside of the field of view. Sorted by region.
    """
    order = np.argsort(wanted, kind="stable")
    sorted_labels = np.asarray(wanted)[order]
    strides = np.array([1, grid[0], grid[0] * grid[1]])
    found = []
    for z, (inside, index) in enumerate(nearest_slices(labels.shape, affine, grid, target_affine)):
        here = labels[..., z]
        place = np.minimum(np.searchsorted(sorted_labels, here), len(order) - 1)
        of_region = sorted_labels[place] == here
        position = np.where(inside, np.tensordot(strides, index, 1), -1)
        found.append(np.stack([order[place[of_region]], position[of_region]], axis=1).astype(np.int32))
    located = np.concatenate(found) if found else np.empty((0, 2), np.int32)
    return located[np.argsort(located[:, 0], kind="stable")]
