#!/usr/bin/env python3
"""Put an atlas on the grid of a run, whose header is all that is read of it; images on the same grid share what is written."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option
from roistream.extraction_options import add_region_options
from roistream.images.image import tell
from roistream.images.series import inspect_run
from roistream.regions.placed import PlacedAtlas, write_placed
from roistream.reporting import reporting
from roistream.study.placing import place


def place_atlas(
    atlas: Path,
    like: Path,
    out: Path,
    table: Path,
    coverage: Path,
    regions: int | str | Sequence[int] = "all",
    labels: Path | None = None,
    empty_regions: str = "error",
    missing_orientation: str = "error",
) -> None:
    """Write an atlas on the grid of a run.

    Parameters
    ----------
    atlas : path
        3D label image, 4D image of maps, or table of spheres.
    like : path
        4D or 3D image that gives grid and affine.
    out : path
        int32 label image to write, or, of maps and spheres, a sparse array (``.npz``). The sidecar beside it tells what the atlas
        was, and what is odd about it.
    table : path
        The table of regions to write (`roistream.regions.coverage.Region`).
    coverage : path
        ``.npy`` to write: for each atlas voxel of the regions the number of its region and the voxel of the run in which it lies;
        of maps and spheres for each region the share of it that lies in the run.
    regions, labels, empty_regions, missing_orientation
        See `roistream.regions.placed.put_on_grid`.

    Raises
    ------
    UserError
        The atlas is unusable, lies outside of the run, or a region is empty and must not be.
    """
    target = inspect_run(like)
    tell(target.remarks)
    placed = place(atlas, target, regions, labels, empty_regions, missing_orientation)
    if isinstance(placed, PlacedAtlas):
        write_placed(placed, target.affine, out, table, coverage)
    else:
        from roistream.regions.placed_maps import write_placed_maps

        write_placed_maps(placed, out, table, coverage)


def parse_arguments() -> dict:
    """Read the command line into the parameters of `place_atlas`."""
    parser = argparse.ArgumentParser(description="Put an atlas on the grid of a run.")
    parser.add_argument(
        "--atlas", required=True, type=Path, help="3D label image, 4D image of maps, or table of spheres"
    )
    parser.add_argument("--like", required=True, type=Path, help="the run, 4D or 3D NIfTI; only its header is read")
    add_region_options(parser)
    parser.add_argument("--out", required=True, type=Path, help="label image to write; of maps and spheres an .npz")
    parser.add_argument("--table", required=True, type=Path, help="table of regions to write")
    parser.add_argument("--coverage", required=True, type=Path, help=".npy to write: where the atlas's voxels lie")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        place_atlas(**arguments)
