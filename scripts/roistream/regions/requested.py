"""The regions that an extraction is asked for: masks or labels of an atlas, and the names of what comes of them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.image import Image
from roistream.images.series import Series
from roistream.regions.coverage import Region, read_regions
from roistream.regions.masks import Mask, locate_labels, read_voxels


def locate_masks(
    source: Image | Series, paths: Sequence[Path], table: Path | None
) -> tuple[list[Mask], list[str], list[str]]:
    """Read the masks; give also the beginnings of their outputs' names, and the regions' names."""
    paths = list_masks(paths, table)
    stems = [path.name.removesuffix(".gz").removesuffix(".nii").removesuffix("_mask") for path in paths]
    if len(set(stems)) < len(stems):
        raise UserError("Two masks have the same file name; name each mask after its region.")
    names = [region.name for region in regions_of(table, paths)] if table else stems
    masks = [Mask(path, read_voxels(path, source.grid, source.affine)) for path in paths]
    empty = [mask for mask in masks if not mask.voxels.size]
    if empty and not table:
        raise UserError(f"{empty[0].path} is empty; leave it out.")
    return masks, stems, names


def list_masks(given: Sequence[Path], table: Path | None) -> Sequence[Path]:
    """List the masks that are meant: a folder stands for those of all regions of the table."""
    if len(given) != 1 or not given[0].is_dir():
        return given
    if table is None:
        raise UserError(
            f"{given[0]} is a folder; give --regions as well, the table of its masks, or the masks themselves."
        )
    return [given[0] / f"region-{region.label}_mask.nii.gz" for region in read_regions(table)]


def locate_atlas(source: Image | Series, atlas: Path, table: Path) -> tuple[list[Mask], list[str], list[str]]:
    """Find the regions of a table in their atlas; otherwise as `locate_masks`."""
    regions = read_regions(table)
    stems = [f"region-{region.label}" for region in regions]
    voxels = locate_labels(atlas, [region.label for region in regions], source.grid, source.affine)
    if [found.size for found in voxels] != [region.n_voxels for region in regions]:
        raise UserError(f"{table} counts other voxels than {atlas} has; give the table made with it.")
    masks = [Mask(None, found, stem) for found, stem in zip(voxels, stems, strict=True)]
    return masks, stems, [region.name for region in regions]


def regions_of(table: Path, masks: Sequence[Path]) -> list[Region]:
    """Read the table of regions and check that it belongs to the masks."""
    regions = read_regions(table)
    expected = [f"region-{region.label}_mask.nii.gz" for region in regions]
    if [mask.name for mask in masks] != expected:
        raise UserError(
            f"{table} does not list the regions of the masks in their order; give the table made with them."
        )
    return regions


def digest_of(names: Sequence[str], masks: Sequence[Mask]) -> str:
    """Hash which regions were extracted: their names and where their voxels lie, in order; 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, mask in zip(names, masks, strict=True):
        digest.update(f"{name}\t{mask.voxels.size}\n".encode())
        digest.update(np.ascontiguousarray(mask.voxels, "<i8"))
    return digest.hexdigest()[:16]
