"""Split a resampled atlas into one binary mask for each requested region."""

from collections.abc import Sequence
from pathlib import Path

from roistream.regions.atlas import read_atlas
from roistream.regions.coverage import check_regions, count_regions, write_regions
from roistream.regions.masks import write_mask
from roistream.regions.placement import locate_atlas_voxels
from roistream.reporting import reporting


def split_masks(
    atlas: Path, resampled: Path, names: dict[int, str], masks: Sequence[Path], regions: Path, empty_regions: str
) -> None:
    """Write a mask for each requested label, and the table of regions.

    Parameters
    ----------
    atlas, resampled : path
        The label image on its own grid, and on the image's.
    names : dict
        The requested labels, in order, and the regions' names.
    masks : sequence of path
        The masks to write, in the same order.
    regions : path
        The table to write (`roistream.regions.coverage.Region`).
    empty_regions : {"error", "keep"}
        What to do when a label has no voxel on the image's grid: fail, or write an empty mask and the status ``empty``.

    Raises
    ------
    UserError
        A region is empty and must not be, or all of them are.
    """
    before, atlas_affine = read_atlas(atlas)
    after, affine = read_atlas(resampled)
    located = locate_atlas_voxels(before, atlas_affine, after.shape, affine, list(names))
    counted = count_regions(*located, after, names)
    check_regions(counted, atlas, resampled, empty_regions)
    for region, mask in zip(counted, masks, strict=True):
        write_mask(after == region.label, affine, mask)
    write_regions(counted, regions)


if __name__ == "__main__":
    with reporting(snakemake.log[0]):
        split_masks(
            atlas=Path(snakemake.input.atlas),
            resampled=Path(snakemake.input.resampled),
            names=dict(snakemake.params.names),
            masks=[Path(mask) for mask in snakemake.output.masks],
            regions=Path(snakemake.output.regions),
            empty_regions=snakemake.params.empty_regions,
        )
