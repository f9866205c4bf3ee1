"""Split a resampled atlas into one binary mask for each requested region."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from roistream.errors import UserError
from roistream.outputs import files_of_labels, remove_files
from roistream.regions.atlas import read_atlas
from roistream.regions.coverage import count_regions, write_regions
from roistream.regions.masks import write_mask
from roistream.reporting import reporting

logger = logging.getLogger("roistream")


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
        The masks to write, in the same order; none, if the table is all that is needed.
    regions : path
        The table to write (`roistream.regions.coverage.Region`). Masks beside it, in the folder ``masks``, that an earlier run
        has left there and that are not written now are removed.
    empty_regions : {"error", "keep"}
        What to do when a label has no voxel on the image's grid: fail, or write an empty mask and the status ``empty``.

    Raises
    ------
    UserError
        A region is empty and must not be, or all of them are.
    """
    before, atlas_affine = read_atlas(atlas)
    after, affine = read_atlas(resampled)
    counted = count_regions(before, atlas_affine, after, affine, names)
    empty = [region.label for region in counted if region.status == "empty"]
    if len(empty) == len(counted):
        raise UserError(
            f"None of the requested regions has a voxel on the grid of {resampled}; check 'atlas' and 'regions'."
        )
    if empty and empty_regions == "error":
        listed = ", ".join(str(label) for label in empty[:10]) + (", …" if len(empty) > 10 else "")
        raise UserError(
            f"{len(empty)} requested label(s) of {atlas} have no voxel on the image's grid: {listed}; "
            "leave them out of 'regions', or set 'empty_regions: keep' for columns of NaN."
        )
    folder = regions.parent / "masks"
    remove_files(files_of_labels(folder, "_mask.nii.gz") - set(masks))
    with suppress(OSError):  # it holds masks, or there is none
        folder.rmdir()
    for region, mask in zip(counted, masks, strict=True) if masks else ():
        write_mask(after == region.label, affine, mask)
    for region in counted:
        if region.status != "ok":
            logger.warning(
                "Region %d (%s) is %s: coverage %.3f.", region.label, region.name, region.status, region.coverage
            )
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
