#!/usr/bin/env python3
"""Split a resampled atlas into one binary mask for each requested region."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from roistream.command_line import add_log_option
from roistream.errors import UserError
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
    for region, mask in zip(counted, masks, strict=True):
        write_mask(after == region.label, affine, mask)
        if region.status != "ok":
            logger.warning(
                "Region %d (%s) is %s: coverage %.3f.", region.label, region.name, region.status, region.coverage
            )
    write_regions(counted, regions)


def parse_arguments() -> dict:
    """Read the command line into the parameters of `split_masks`, and ``log``."""
    parser = argparse.ArgumentParser(description="Split an atlas into one binary mask for each region.")
    parser.add_argument("--atlas", required=True, type=Path, help="label image on its own grid")
    parser.add_argument("--resampled", required=True, type=Path, help="the same labels on the grid of the image")
    parser.add_argument(
        "--names", required=True, type=named_label, nargs="+", metavar="LABEL=NAME", help="the regions, in order"
    )
    parser.add_argument("--masks", required=True, type=Path, nargs="+", help="masks to write, one for each region")
    parser.add_argument("--regions", required=True, type=Path, metavar="TSV", help="table of the regions to write")
    parser.add_argument(
        "--empty-regions",
        choices=("error", "keep"),
        default="error",
        help="what to do with a region without a voxel on that grid (default: error)",
    )
    add_log_option(parser)
    arguments = vars(parser.parse_args())
    arguments["names"] = dict(arguments["names"])
    if len(arguments["masks"]) != len(arguments["names"]):
        parser.error("argument --masks: give one mask for each label of --names")
    return arguments


def named_label(word: str) -> tuple[int, str]:
    """Read ``LABEL=NAME``; the name may be anything."""
    label, sign, name = word.partition("=")
    if not sign or not label.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is not of the form LABEL=NAME, such as 12=Precuneus")
    return int(label), name


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        split_masks(**arguments)
