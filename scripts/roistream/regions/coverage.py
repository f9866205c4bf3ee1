"""How much of each region of an atlas lies on the grid of an image: the table of regions."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.outputs import whole_file
from roistream.regions.labels import locate_regions


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


def count_regions(placed: np.ndarray, atlas_voxels: np.ndarray, names: dict[int, str]) -> list[Region]:
    """Count each region's voxels before and after the atlas was put on a grid.

    Parameters
    ----------
    placed : numpy.ndarray
        int, 3D: the atlas on the image's grid.
    atlas_voxels : numpy.ndarray
        From `roistream.regions.placement.locate_atlas_voxels`, for the requested labels in order.
    names : dict
        The requested labels, in order, and their names.
    """
    number, position = atlas_voxels.T
    n_atlas = np.bincount(number, minlength=len(names)).tolist()
    n_inside = np.bincount(number[position >= 0], minlength=len(names)).tolist()
    n_placed = np.bincount(locate_regions(placed, list(names))[1], minlength=len(names)).tolist()
    regions = []
    for (label, name), before, inside, after in zip(names.items(), n_atlas, n_inside, n_placed, strict=True):
        coverage = inside / before if before else 0.0
        status = "empty" if after == 0 else "partial" if inside < before else "ok"
        regions.append(Region(label, name, before, after, coverage, status))
    return regions
