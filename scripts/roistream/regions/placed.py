"""An atlas on the grid of an image, with all that extractions from this grid need; made once, shared by all images on it."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from roistream.errors import UserError
from roistream.images.image import tell
from roistream.images.writing import new_header, write_image
from roistream.outputs import as_json, whole_file
from roistream.paths import reading
from roistream.regions.atlas import name_regions, read_atlas, read_label_image
from roistream.regions.constant import constant_signals
from roistream.regions.coverage import Region, check_regions, count_regions, list_labels, read_regions, write_regions
from roistream.regions.labels import LabelReduction, locate_regions
from roistream.regions.orientation import affine_of_atlas
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
        int32, ``(n, 2)``, for each voxel of these regions in the atlas: the number of its region, and the place of the image's
        voxel in which its centre lies in a volume of the file (x fastest), -1 outside.
    remarks : tuple of str
        Sentences on what is odd about the atlas.
    source : str
        The file that it was.
    """

    labels: np.ndarray
    regions: list[Region]
    atlas_voxels: np.ndarray
    remarks: tuple[str, ...] = ()
    source: str = ""
    kind = "labels"

    @property
    def grid(self) -> tuple[int, ...]:
        """Voxels along x, y, z."""
        return self.labels.shape

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

    def restrict(self, mask: np.ndarray) -> "PlacedAtlas":
        """Take away what lies outside of a mask (bool, in the order of the file), as ``mask_img`` of NiftiLabelsMasker does."""
        labels = self.labels.copy()
        labels[~mask.reshape(labels.shape, order="F")] = 0
        return replace(self, labels=labels)

    def prepare(self, statistics: Sequence[str], n_volumes: int) -> "PreparedLabels":
        """Prepare the reduction of so many volumes."""
        return PreparedLabels(self, statistics)


class PreparedLabels:
    """The reduction of volumes to the regions of a label image; see `roistream.study.extraction.Reduction`."""

    def __init__(self, placed: PlacedAtlas, statistics: Sequence[str]):
        self.n_regions = len(placed.regions)
        self.positions, self.regions = locate_regions(placed.labels, placed.wanted)
        self.atlas_voxels = placed.atlas_voxels
        others = other_voxels(self.atlas_voxels[:, 1], self.positions, placed.labels.size)
        self.watched = np.concatenate([self.positions, others])
        self.reduction = LabelReduction(self.regions, self.n_regions, statistics)
        self.n_voxels = self.reduction.n_voxels

    def reduce(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Reduce some volumes, given by the values of `positions`."""
        return self.reduction.reduce(values)

    def count(self, of_voxels: np.ndarray) -> np.ndarray:
        """Add up for each region what its voxels have."""
        return np.bincount(self.regions, of_voxels, self.n_regions)

    def coverage(self, covered: np.ndarray) -> np.ndarray:
        """Work out which share of each region is covered by some of the voxels `watched`."""
        return measure_coverage(self.atlas_voxels, self.n_regions, self.watched[covered])

    def constant(self, signals: np.ndarray, run_lengths: Sequence[int]) -> np.ndarray:
        """Tell which signals are constant over a run."""
        return constant_signals(signals, run_lengths)


def other_voxels(atlas_positions: np.ndarray, positions: np.ndarray, n_voxels: int) -> np.ndarray:
    """List those voxels of a volume in which atlas voxels lie, but which belong to no region on the image's grid."""
    others = np.zeros(n_voxels, bool)
    others[atlas_positions[atlas_positions >= 0]] = True
    others[positions] = False
    return np.flatnonzero(others)


def measure_coverage(atlas_voxels: np.ndarray, n_regions: int, with_data: np.ndarray) -> np.ndarray:
    """Work out which share of each region's atlas voxels lies in the image and holds data.

    Parameters
    ----------
    atlas_voxels : numpy.ndarray
        See `PlacedAtlas`.
    n_regions : int
        Regions wanted.
    with_data : numpy.ndarray
        int; positions of the voxels of the image that hold data, in a volume of the file.

    Returns
    -------
    numpy.ndarray
        float64, ``(n_regions,)``; NaN for a region without any voxel in the atlas.
    """
    region, position = atlas_voxels.T
    good = np.zeros(max(position.max(initial=0), with_data.max(initial=0)) + 2, bool)  # the last one stands for outside
    good[with_data] = True
    good = good[position]
    n_atlas = np.bincount(region, minlength=n_regions)
    with np.errstate(invalid="ignore"):
        return np.bincount(region[good], minlength=n_regions) / n_atlas


def name_labels(
    requested: int | str | Sequence[int], present: Sequence[int], names_table: Path | None, atlas: Path
) -> dict[int, str]:
    """Name the labels asked for: as a table does, which is held against the labels of the atlas, or by their numbers."""
    if not names_table:
        return name_regions(requested, {label: f"region-{label}" for label in present}, str(atlas))
    from roistream.regions.label_names import compare_labels, read_label_names  # of no use to who has no table

    known = read_label_names(names_table)
    names = name_regions(requested, known, str(atlas))
    compare_labels(list(known), present, list(names), str(names_table), str(atlas))
    return names


def put_on_grid(
    atlas: Path,
    grid: tuple[int, int, int],
    affine: np.ndarray,
    image: str | Path,
    requested: int | str | Sequence[int] = "all",
    names_table: Path | None = None,
    empty_regions: str = "error",
    oriented: bool = True,
    missing_orientation: str = "error",
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
    oriented, missing_orientation
        See `roistream.regions.orientation.affine_of_atlas`.

    Returns
    -------
    PlacedAtlas
        Complete.

    Raises
    ------
    UserError
        The atlas is no label image, lies outside of the image or nowhere, or a region is empty and must not be.
    """
    found = read_label_image(atlas)
    tell(found.remarks)
    labels = found.labels
    atlas_affine = affine_of_atlas(found.header, grid, affine, image, oriented, missing_orientation)
    present = [label for label in np.unique(labels).tolist() if label != 0]
    names = name_labels(requested, present, names_table, atlas)
    placed = place_labels(labels, atlas_affine, grid, affine)
    region_number, position = locate_atlas_voxels(labels, atlas_affine, grid, affine, list(names))
    if not placed.any() and not (position >= 0).any():
        raise UserError(
            f"No region of the atlas {atlas} lies inside {image}; check that both are in the same space (affine, origin)."
        )
    regions = count_regions(region_number, position, placed, names)
    check_regions(regions, atlas, image, empty_regions)
    if lost := sorted(set(present) - set(np.unique(placed).tolist())):
        logger.warning(
            "%d of the %d labels of %s have no voxel on the grid of %s: %s.",
            len(lost),
            len(present),
            atlas,
            image,
            list_labels(lost),
        )
    logger.info("%s %s put on the grid %s: %d regions.", atlas, labels.shape, tuple(grid), len(names))
    return PlacedAtlas(placed, regions, np.column_stack([region_number, position]), found.remarks, str(atlas))


def write_placed(placed: PlacedAtlas, affine: np.ndarray, labels: Path, regions: Path, voxels: Path) -> None:
    """Write what `read_placed` reads: a label image, the table of regions, where atlas voxels lie, and a sidecar of the first."""
    header = new_header(placed.labels.shape, np.int32, affine)
    write_image(labels, header, [placed.labels.ravel(order="F").astype("<i4", copy=False)])
    write_regions(placed.regions, regions)
    with whole_file(voxels) as partial, partial.open("wb") as stream:
        np.save(stream, placed.atlas_voxels)
    with whole_file(sidecar_of(labels)) as partial:
        partial.write_text(as_json({"Source": placed.source, "Remarks": placed.remarks}), "utf-8")


def sidecar_of(placed: Path) -> Path:
    """Name the file beside a placed atlas that tells what it was and what is odd about it."""
    return placed.with_name(f"{placed.name.removesuffix('.gz').removesuffix('.nii').removesuffix('.npz')}.json")


def read_placed_sidecar(placed: Path) -> dict[str, Any]:
    """Read the file beside a placed atlas; nothing where there is none."""
    sidecar = sidecar_of(placed)
    with reading(sidecar):
        return json.loads(sidecar.read_text("utf-8")) if sidecar.exists() else {}


def read_placed(labels: Path, regions: Path, voxels: Path) -> PlacedAtlas:
    """Read what `write_placed` wrote."""
    try:
        with reading(voxels):
            atlas_voxels = np.load(voxels)
    except (EOFError, ValueError) as error:
        raise UserError(f"{voxels} cannot be read ({error}); give the file that place_atlas.py has written.") from error
    said = read_placed_sidecar(labels)
    source, remarks = said.get("Source", str(labels)), tuple(said.get("Remarks", ()))
    return PlacedAtlas(read_atlas(labels)[0], read_regions(regions), atlas_voxels, remarks, source)
