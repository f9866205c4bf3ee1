"""How much of each region of an atlas lies on the grid of an image: the table of regions."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.outputs import whole_file


@dataclass(frozen=True)
class Region:
    """One row of ``regions.tsv``.

    Attributes
    ----------
    label : int
        The value in the atlas.
    name : str
        The column in ``timeseries.tsv``.
    n_voxels_atlas, n_voxels : int
        Voxels on the atlas's own grid, and on the image's.
    coverage : float
        Share of the region's voxels in the atlas whose centres lie inside the image's field of view, from 0 to 1.
    status : str
        ``ok``, ``partial`` (a part of the region lies outside the field of view) or ``empty`` (no voxel on the image's
        grid).
    """

    label: int
    name: str
    n_voxels_atlas: int
    n_voxels: int
    coverage: float
    status: str


def write_regions(regions: Sequence[Region], path: str | Path) -> None:
    """Write ``regions.tsv``, one row for each requested region."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Region)], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**asdict(region), "coverage": f"{region.coverage:.4f}"} for region in regions)


def read_regions(path: str | Path) -> list[Region]:
    """Read what `write_regions` wrote."""
    try:
        with Path(path).open(newline="", encoding="utf-8") as stream:
            return [
                Region(
                    int(row["label"]),
                    row["name"],
                    int(row["n_voxels_atlas"]),
                    int(row["n_voxels"]),
                    float(row["coverage"]),
                    row["status"],
                )
                for row in csv.DictReader(stream, delimiter="\t")
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no table of regions ({error}); give the regions.tsv that split_masks wrote."
        ) from error


def count_regions(
    atlas: np.ndarray, atlas_affine: np.ndarray, resampled: np.ndarray, affine: np.ndarray, names: dict[int, str]
) -> list[Region]:
    """Count each region's voxels before and after resampling.

    Parameters
    ----------
    atlas, resampled : numpy.ndarray
        Label images on the atlas's grid and on the image's.
    atlas_affine, affine : numpy.ndarray
        Their affines, in mm.
    names : dict
        The requested labels, in order, and their names.
    """
    before, after = count_voxels(atlas), count_voxels(resampled)
    inside = count_voxels(atlas[inside_grid(atlas.shape, atlas_affine, resampled.shape, affine)])
    regions = []
    for label, name in names.items():
        coverage = inside[label] / before[label] if before[label] else 0.0
        status = "empty" if after[label] == 0 else "partial" if inside[label] < before[label] else "ok"
        regions.append(Region(label, name, before[label], after[label], coverage, status))
    return regions


def count_voxels(labels: np.ndarray) -> Counter[int]:
    """Count the voxels of each label; labels may be far apart (those of the Allen atlas go up to 614,454,277)."""
    present, counts = np.unique(labels, return_counts=True)
    return Counter(dict(zip(present.tolist(), counts.tolist(), strict=True)))


def inside_grid(
    shape: tuple[int, ...], affine: np.ndarray, other_shape: tuple[int, ...], other_affine: np.ndarray
) -> np.ndarray:
    """Tell which voxel centres of one grid lie inside another (nearer to one of its voxels than half a voxel).

    Returns
    -------
    numpy.ndarray
        bool, of the first shape.
    """
    to_other = np.linalg.inv(other_affine) @ affine
    indices = np.indices(shape, dtype=np.float32).reshape(3, -1)
    inside = np.ones(indices.shape[1], bool)
    for axis in range(3):
        position = to_other[axis, :3] @ indices + to_other[axis, 3]
        inside &= (position > -0.5) & (position < other_shape[axis] - 0.5)
    return inside.reshape(shape)
