"""An atlas on the grid of an image, with all that extractions from this grid need; made once, shared by all images on it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.writing import new_header, write_image
from roistream.outputs import whole_file
from roistream.regions.atlas import read_atlas, read_label_names, select_labels
from roistream.regions.coverage import Region, count_regions, read_regions, write_regions
from roistream.regions.labels import locate_regions
from roistream.regions.placement import locate_atlas_voxels, place_labels

logger = logging.getLogger("roistream")


@dataclass(frozen=True)
class PlacedAtlas:
    """An atlas on a grid.

    Attributes
    ----------
    labels : numpy.ndarray
        int32, 3D, on the grid.
    regions : list of Region
        The regions asked for, in the order of all columns.
    atlas_voxels : numpy.ndarray
        int32, ``(n, 2)``, from `roistream.regions.placement.locate_atlas_voxels`.
    """

    labels: np.ndarray
    regions: list[Region]
    atlas_voxels: np.ndarray

    @property
    def wanted(self) -> list[int]:
        """Labels of the regions."""
        return [region.label for region in self.regions]

    def positions(self) -> list[np.ndarray]:
        """Find for each region where its voxels lie in a volume of the file (x fastest), in C order (z fastest)."""
        positions, regions = locate_regions(self.labels, self.wanted)
        by_region = np.argsort(regions, kind="stable")
        ends = np.cumsum(np.bincount(regions, minlength=len(self.regions)))
        return np.split(positions[by_region], ends[:-1])


def place_atlas(
    atlas: Path,
    grid: tuple[int, int, int],
    affine: np.ndarray,
    image: str | Path,
    requested: int | str | Sequence[int] = "all",
    names_table: Path | None = None,
    empty_regions: str = "error",
) -> PlacedAtlas:
    """Put an atlas on a grid.

    Parameters
    ----------
    atlas : path
        3D label image.
    grid, affine
        Voxels along x, y, z, and 4 × 4 in mm.
    image : str or path
        What messages call the image.
    requested : int, "all" or list of int
        The first so many labels, all of them, or these; of `names_table` where it is given.
    names_table : path, optional
        TSV with columns ``index`` and ``name``; else regions are called ``region-{label}``.
    empty_regions : {"error", "keep"}
        What to do when a label has no voxel on the grid.

    Returns
    -------
    PlacedAtlas
        Complete.

    Raises
    ------
    UserError
        The atlas is no label image, lies outside of the image, or a region is empty and must not be.
    """
    labels, atlas_affine = read_atlas(atlas)
    if names_table is not None:
        known = read_label_names(names_table)
    else:
        known = {label: f"region-{label}" for label in np.unique(labels).tolist() if label != 0}
    wanted = select_labels(requested, list(known), str(atlas))
    names = {label: known.get(label, f"region-{label}") for label in wanted}
    placed = place_labels(labels, atlas_affine, grid, affine)
    if not placed.any():
        raise UserError(
            f"No region of the atlas {atlas} lies inside {image}; check that both are in the same space (affine, origin)."
        )
    atlas_voxels = locate_atlas_voxels(labels, atlas_affine, grid, affine, wanted)
    regions = count_regions(placed, atlas_voxels, names)
    check_empty(regions, atlas, image, empty_regions)
    for region in regions:
        if region.status != "ok":
            logger.warning(
                "Region %d (%s) is %s: coverage %.3f.", region.label, region.name, region.status, region.coverage
            )
    logger.info("%s %s put on the grid %s.", atlas, labels.shape, tuple(grid))
    return PlacedAtlas(placed, regions, atlas_voxels)


def check_empty(regions: Sequence[Region], atlas: Path, image: str | Path, empty_regions: str) -> None:
    """Refuse regions without a voxel on the grid, unless they are to be kept."""
    empty = [region.label for region in regions if region.status == "empty"]
    if len(empty) == len(regions):
        raise UserError(
            f"None of the requested regions has a voxel on the grid of {image}; check 'atlas' and 'regions'."
        )
    if empty and empty_regions == "error":
        listed = ", ".join(str(label) for label in empty[:10]) + (", …" if len(empty) > 10 else "")
        raise UserError(
            f"{len(empty)} requested label(s) of {atlas} have no voxel on the image's grid: {listed}; "
            "leave them out of 'regions', or set 'empty_regions: keep' for columns of NaN."
        )


def write_placed(placed: PlacedAtlas, affine: np.ndarray, labels: Path, regions: Path, voxels: Path) -> None:
    """Write the three files that `read_placed` reads: a label image, the table of regions, and where atlas voxels lie."""
    header = new_header(placed.labels.shape, np.int32, affine)
    write_image(labels, header, [placed.labels.ravel(order="F").astype("<i4", copy=False)])
    write_regions(placed.regions, regions)
    with whole_file(voxels) as partial, partial.open("wb") as stream:
        np.save(stream, placed.atlas_voxels)


def read_placed(labels: Path, regions: Path, voxels: Path) -> PlacedAtlas:
    """Read what `write_placed` wrote."""
    try:
        atlas_voxels = np.load(voxels)
    except (OSError, ValueError) as error:
        raise UserError(f"{voxels} cannot be read ({error}); give the file that place_atlas.py has written.") from error
    return PlacedAtlas(read_atlas(labels)[0], read_regions(regions), atlas_voxels)
