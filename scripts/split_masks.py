#!/usr/bin/env python3
"""Split an atlas that lies on the grid of an image into one binary mask for each of its regions."""

import argparse
import shutil
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option
from roistream.outputs import files_of_labels, remove_files, whole_file
from roistream.regions.atlas import read_atlas
from roistream.regions.coverage import read_regions
from roistream.regions.masks import write_mask
from roistream.reporting import reporting


def split_masks(atlas: Path, regions: Path, masks: Path | None, out_atlas: Path, out_regions: Path) -> None:
    """Write a mask for each region, and give the image its own atlas and table of regions.

    Parameters
    ----------
    atlas : path
        The label image on the image's grid.
    regions : path
        The table of regions that belongs to it; a region may be empty.
    masks : path
        Folder for ``region-{label}_mask.nii.gz``; None, if nothing reads them.
    out_atlas, out_regions : path
        The copies to write. Masks beside them, in the folder ``masks``, that an earlier run has left there and that are not
        written now are removed.

    Raises
    ------
    UserError
        The atlas or the table cannot be read.
    """
    labels, affine = read_atlas(atlas)
    wanted = {}
    if masks is not None:
        wanted = {masks / f"region-{region.label}_mask.nii.gz": region.label for region in read_regions(regions)}
    folder = out_regions.parent / "masks"
    remove_files(files_of_labels(folder, "_mask.nii.gz") - set(wanted))
    with suppress(OSError):  # it holds masks, or there is none
        folder.rmdir()
    for path, label in wanted.items():
        write_mask(labels == label, affine, path)
    for source, target in ((atlas, out_atlas), (regions, out_regions)):
        with whole_file(target) as partial:
            shutil.copyfile(source, partial)


def parse_arguments() -> dict:
    """Read the command line into the parameters of `split_masks`."""
    parser = argparse.ArgumentParser(description="Split a placed atlas into binary masks.")
    parser.add_argument("--atlas", required=True, type=Path, help="label image on the image's grid")
    parser.add_argument("--regions", required=True, type=Path, help="its regions.tsv, by place_atlas.py")
    parser.add_argument("--masks", type=Path, help="folder of the masks (default: none are written)")
    parser.add_argument("--out-atlas", required=True, type=Path, help="copy of the atlas to write")
    parser.add_argument("--out-regions", required=True, type=Path, help="copy of the table to write")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        split_masks(**arguments)
