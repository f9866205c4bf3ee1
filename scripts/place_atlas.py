#!/usr/bin/env python3
"""Put an atlas on the grid of an image, and tell what becomes of each region there.

Of the image only the header is read. Works from a plain shell: python scripts/place_atlas.py --help
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.image import describe
from roistream.images.writing import new_header, write_image
from roistream.outputs import whole_file
from roistream.regions.atlas import name_regions, read_atlas, read_label_names
from roistream.regions.coverage import check_regions, count_regions, list_labels, write_regions
from roistream.regions.placement import locate_atlas_voxels, place_labels
from roistream.reporting import reporting

logger = logging.getLogger("roistream")


def place_atlas(
    atlas: Path,
    like: Path,
    out: Path,
    table: Path,
    coverage: Path,
    regions: int | str | Sequence[int] = "all",
    labels: Path | None = None,
    empty_regions: str = "error",
) -> None:
    """Write the atlas on the image's grid, the table of the requested regions, and where their atlas voxels lie.

    Parameters
    ----------
    atlas : path
        3D label image.
    like : path
        3D or 4D image that gives grid and affine.
    out : path
        int32 label image to write, with all labels of the atlas: each voxel gets that of the atlas voxel in which its centre
        lies.
    table : path
        Table of the requested regions to write (`roistream.regions.coverage.Region`).
    coverage : path
        Array to write: int32 ``(n, 2)``, one row for each atlas voxel of the requested regions, in the order of the atlas's
        file. Row of the table, and place of the image's voxel in a volume of its file (x fastest), -1 outside.
    regions : int, "all" or list of int
        As the config key: the first so many labels, all of them, or these.
    labels : path, optional
        Table of labels: which there are, in which order, and their names; without it the labels that the atlas holds.
    empty_regions : {"error", "keep"}
        What to do when a requested label has no voxel on the image's grid: fail, or keep it with the status ``empty``.

    Raises
    ------
    UserError
        A file is unusable, the atlas lies outside the image, or a region is empty and must not be.
    """
    values, affine = read_atlas(atlas)
    target, shape = describe(like, 4)
    if len(shape) not in (3, 4):
        raise UserError(f"{like} is {len(shape)}D (shape {shape}); give a 3D or 4D image.")
    present = [label for label in np.unique(values).tolist() if label != 0]
    available = read_label_names(labels) if labels else {label: f"region-{label}" for label in present}
    names = name_regions(regions, available, str(atlas))
    placed = place_labels(values, affine, target.grid, target.affine)
    region_number, position = locate_atlas_voxels(values, affine, target.grid, target.affine, list(names))
    if not placed.any() and not (position >= 0).any():
        raise UserError(
            f"No region of the atlas {atlas} lies inside {like}; check that both are in the same space (affine, origin)."
        )
    counted = count_regions(region_number, position, placed, names)
    check_regions(counted, atlas, like, empty_regions)
    if unnamed := sorted(set(present) - set(available)):
        logger.warning(
            "%d of the %d labels of %s are not in %s: %s.",
            len(unnamed),
            len(present),
            atlas,
            labels,
            list_labels(unnamed),
        )
    if lost := sorted(set(present) - set(np.unique(placed).tolist())):
        logger.warning(
            "%d of the %d labels of %s have no voxel on the grid of %s: %s.",
            len(lost),
            len(present),
            atlas,
            like,
            list_labels(lost),
        )
    write_image(out, new_header(target.grid, np.int32, target.affine), [placed.ravel(order="F")])
    write_regions(counted, table)
    with whole_file(coverage) as partial, partial.open("wb") as stream:
        np.save(stream, np.column_stack([region_number, position]))
    logger.info("%s %s placed on the grid %s: %d regions.", atlas, values.shape, target.grid, len(names))


def parse_regions(text: str) -> int | str | list[int]:
    """Read the config key ``regions`` from the command line, where it is spelt as in the config."""
    try:
        regions = "all" if text == "all" else json.loads(text)
    except ValueError:
        regions = None
    listed = regions if isinstance(regions, list) else [regions]
    if regions != "all" and (not listed or any(type(number) is not int or number < 1 for number in listed)):
        raise argparse.ArgumentTypeError(f"{text!r} is none of 'all', a number such as 6, and labels such as '[3, 9]'")
    return regions


def parse_arguments() -> tuple[dict, Path | None]:
    """Read the command line into the parameters of `place_atlas` and the log file."""
    parser = argparse.ArgumentParser(description="Put an atlas on the grid of an image.")
    parser.add_argument("--atlas", required=True, type=Path, help="3D label image")
    parser.add_argument(
        "--like", required=True, type=Path, metavar="IMAGE", help="3D or 4D image of which only the header is read"
    )
    parser.add_argument(
        "--regions",
        type=parse_regions,
        default="all",
        help="'all' (default), the first so many labels, such as 6, or a list of labels, such as '[3, 9]'",
    )
    parser.add_argument("--labels", type=Path, metavar="TSV", help="table with columns index and name")
    parser.add_argument(
        "--empty-regions",
        choices=("error", "keep"),
        default="error",
        help="what to do with a requested label that has no voxel on the image's grid (default: error)",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DSEG", help="the atlas on that grid, to be written")
    parser.add_argument("--table", required=True, type=Path, metavar="TSV", help="the requested regions, to be written")
    parser.add_argument(
        "--coverage",
        required=True,
        type=Path,
        metavar="NPY",
        help="to be written: for each atlas voxel of the requested regions the row of the table, and the voxel of the image",
    )
    parser.add_argument("--log", type=Path, help="file for what is also told on stderr")
    arguments = vars(parser.parse_args())
    log = arguments.pop("log")
    return arguments, log


if __name__ == "__main__":
    arguments, log = parse_arguments()
    with reporting(log):
        place_atlas(**arguments)
