#!/usr/bin/env python3
"""Split an atlas that lies on the grid of an image into one binary mask for each of its regions."""

import argparse
import shutil
from pathlib import Path

from roistream.command_line import add_log_option
from roistream.outputs import whole_file
from roistream.regions.atlas import read_atlas
from roistream.regions.coverage import read_regions
from roistream.regions.masks import write_mask
from roistream.reporting import reporting


def split_masks(atlas: Path, regions: Path, masks: Path, out_atlas: Path, out_regions: Path) -> None:
    """Write a mask for each region, and give the image its own atlas and table of regions.

    Parameters
    ----------
    atlas : path
        The label image on the image's grid.
    regions : path
        The table of regions that belongs to it; a region may be empty.
    masks : path
        Folder for ``region-{label}_mask.nii.gz``; masks of other labels in it are removed.
    out_atlas, out_regions : path
        The copies to write.

    Raises
    ------
    UserError
        The atlas or the table cannot be read.
    """
    labels, affine = read_atlas(atlas)
    names = set()
    for region in read_regions(regions):
        path = masks / f"region-{region.label}_mask.nii.gz"
        write_mask(labels == region.label, affine, path)
        names.add(path.name)
    for path in masks.glob("region-*_mask.nii.gz"):
        if path.name not in names:
            path.unlink()
    for source, target in ((atlas, out_atlas), (regions, out_regions)):
        with whole_file(target) as partial:
            shutil.copyfile(source, partial)


def parse_arguments() -> dict:
    """Read the command line into the parameters of `split_masks`."""
    parser = argparse.ArgumentParser(description="Split a placed atlas into binary masks.")
    parser.add_argument("--atlas", required=True, type=Path, help="label image on the image's grid")
    parser.add_argument("--regions", required=True, type=Path, help="its regions.tsv, by place_atlas.py")
    parser.add_argument("--masks", required=True, type=Path, help="folder of the masks")
    parser.add_argument("--out-atlas", required=True, type=Path, help="copy of the atlas to write")
    parser.add_argument("--out-regions", required=True, type=Path, help="copy of the table to write")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        split_masks(**arguments)
