"""Put an atlas on the grid of an image: nearest neighbour by the affines.

A voxel gets the label of that voxel of the other grid in which its centre lies, also in the outermost ones, which reach half a
voxel beyond their centres. On a face between two voxels lies what is within `ON_FACE` of it; it belongs to the voxel of the
higher index (as for scipy.ndimage), on an outer face to the one voxel that is there. So the noise of rounded affines decides
nothing, where half voxels between two grids make whole slices of centres lie on faces.
"""

from collections.abc import Iterator, Sequence

import numpy as np

ON_FACE = 1e-4
"""Voxels; more than the rounding of affines to float32 moves a centre, less than what matters."""


def place_labels(
    labels: np.ndarray, affine: np.ndarray, grid: tuple[int, int, int], target_affine: np.ndarray
) -> np.ndarray:
    """Put a label image on another grid.

    Parameters
    ----------
    labels : numpy.ndarray
        3D, whole numbers that fit into int32.
    affine : numpy.ndarray
        4 × 4, in mm, of the labels.
    grid : tuple of int
        Voxels along x, y, z of the target.
    target_affine : numpy.ndarray
        4 × 4, in mm, of the target.

    Returns
    -------
    numpy.ndarray
        int32, of the target's grid, in Fortran order; 0 outside of the labels. On the `same_grid` it is the labels unchanged.
    """
    placed = np.zeros(grid, np.int32, order="F")
    to_labels = np.linalg.solve(affine, target_affine)
    x, y = np.ogrid[: grid[0], : grid[1]]
    for z in range(grid[2]):
        indices, inside = containing_voxels(to_labels, (x, y, z), labels.shape)
        if inside.any():
            placed[:, :, z] = np.where(inside, labels[indices], 0)
    return placed


def locate_atlas_voxels(
    labels: np.ndarray,
    affine: np.ndarray,
    grid: tuple[int, int, int],
    target_affine: np.ndarray,
    wanted: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Tell for each voxel of the wanted regions in which voxel of another grid its centre lies.

    Parameters
    ----------
    labels, affine, grid, target_affine
        As for `place_labels`.
    wanted : sequence of int
        Labels of the regions, each once.

    Returns
    -------
    region_number : numpy.ndarray
        int32, one for each atlas voxel that has a wanted label: the place of its label in `wanted`. In the order of the
        atlas's file (x fastest).
    position : numpy.ndarray
        int32, for the same voxels: where the target's voxel lies in a volume of the file (x fastest); -1 outside.
    """
    to_target = np.linalg.solve(target_affine, affine)
    strides = (1, grid[0], grid[0] * grid[1])
    region_numbers, positions = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for z, numbers in enumerate(number_regions(labels, wanted)):
        y, x = np.nonzero(numbers.T >= 0)
        indices, inside = containing_voxels(to_target, (x, y, z), grid)
        flat = sum(index * stride for index, stride in zip(indices, strides, strict=True))
        region_numbers.append(numbers[x, y])
        positions.append(np.where(inside, flat, -1).astype(np.int32))
    return np.concatenate(region_numbers), np.concatenate(positions)


def number_regions(labels: np.ndarray, wanted: Sequence[int]) -> Iterator[np.ndarray]:
    """Give for each z the places of the labels in `wanted`: int32, -1 for those that are not in it.

    Labels may be far apart (those of the Allen atlas go up to 614,454,277): a table with a place for each is no choice.
    """
    order = np.argsort(wanted)
    ascending = np.asarray(wanted)[order]
    for z in range(labels.shape[2]):
        place = np.searchsorted(ascending, labels[:, :, z]).clip(max=len(ascending) - 1)
        yield np.where(ascending[place] == labels[:, :, z], order[place], -1).astype(np.int32)


def containing_voxels(
    matrix: np.ndarray, points: tuple[np.ndarray | int, ...], shape: tuple[int, ...]
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Find the voxels in which points lie; an index along an axis has no more dimensions than it depends on.

    Parameters
    ----------
    matrix : numpy.ndarray
        4 × 4, from `points` to the voxels.
    points : tuple of numpy.ndarray or int
        Their three coordinates, which can be broadcast together.
    shape : tuple of int
        Of the voxels.

    Returns
    -------
    indices : tuple of numpy.ndarray
        Along each axis; those of points outside are moved inside.
    inside : numpy.ndarray
        bool.
    """
    indices, inside = [], np.array(True)
    for row, n in zip(matrix[:3], shape, strict=True):
        # Of a grid along the same axes it needs one row of points, not all of a slice.
        position = row[3] + sum(step * point for step, point in zip(row[:3], points, strict=True) if step)
        inside = inside & (position >= -0.5 - ON_FACE) & (position <= n - 0.5 + ON_FACE)
        indices.append(np.floor(position + (0.5 + ON_FACE)).clip(0, n - 1).astype(np.intp))
    return tuple(indices), inside
