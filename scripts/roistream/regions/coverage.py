"""How much of each region of an atlas lies on the grid of an image: the table of regions."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.outputs import whole_file
from roistream.paths import reading
from roistream.regions.placement import number_regions

logger = logging.getLogger("roistream")


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
        Share of the region's voxels in the atlas whose centres lie inside the image's field of view, from 0 to 1; on its
        border is inside.
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
        with reading(path), Path(path).open(newline="", encoding="utf-8") as stream:
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
    region_number: np.ndarray, position: np.ndarray, placed: np.ndarray, names: dict[int, str]
) -> list[Region]:
    """Count each region's voxels in the atlas, those of them inside the image's field of view, and those on its grid.

    Parameters
    ----------
    region_number, position : numpy.ndarray
        From `roistream.regions.placement.locate_atlas_voxels` for the labels of `names`.
    placed : numpy.ndarray
        The atlas on the image's grid.
    names : dict
        The requested labels, in order, and their names.
    """
    before = np.bincount(region_number, minlength=len(names)).tolist()
    inside = np.bincount(region_number[position >= 0], minlength=len(names)).tolist()
    after = np.zeros(len(names), np.int64)
    for numbers in number_regions(placed, list(names)):
        after += np.bincount(numbers[numbers >= 0], minlength=len(names))
    regions = []
    for (label, name), n_atlas, n_inside, n in zip(names.items(), before, inside, after.tolist(), strict=True):
        coverage = n_inside / n_atlas if n_atlas else 0.0
        status = "empty" if n == 0 else "partial" if n_inside < n_atlas else "ok"
        regions.append(Region(label, name, n_atlas, n, coverage, status))
    return regions


def check_regions(regions: Sequence[Region], atlas: Path, image: str | Path, empty_regions: str) -> None:
    """Tell of regions that are not wholly there; refuse those that are not there at all.

    Parameters
    ----------
    regions : sequence of Region
        The requested ones.
    atlas, image : path
        What messages call the atlas and the image.
    empty_regions : {"error", "keep"}
        What to do with a region without a voxel on the image's grid: fail, or keep it as it is.

    Raises
    ------
    UserError
        A region is empty and must not be, or all of them are.
    """
    empty = [region.label for region in regions if region.status == "empty"]
    if len(empty) == len(regions):
        raise UserError(
            f"None of the requested regions has a voxel on the grid of {image}; check 'atlas' and 'regions'."
        )
    if empty and empty_regions == "error":
        raise UserError(
            f"{len(empty)} requested label(s) of {atlas} have no voxel on the image's grid: {list_labels(empty)}; "
            "leave them out of 'regions', or set 'empty_regions: keep' for columns of NaN."
        )
    for region in regions:
        if region.status != "ok":
            logger.warning(
                "Region %d (%s) is %s: coverage %.3f.", region.label, region.name, region.status, region.coverage
            )


def list_labels(labels: Sequence[int]) -> str:
    """List the first ten labels for a message."""
    return ", ".join(str(label) for label in labels[:10]) + (", …" if len(labels) > 10 else "")
