#!/usr/bin/env python3
"""Make one file of the runs of an image, without loading any of them."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option, parse
from roistream.extraction_options import add_time_options
from roistream.images.files import files_of
from roistream.images.image import Image, tell
from roistream.images.progress import progress
from roistream.images.repetition_time import RepetitionTime, log_source, warn
from roistream.images.series import Series, open_series, repetition_time
from roistream.images.unchanged import Unchanged
from roistream.images.volumes import read_blocks, read_stored
from roistream.images.writing import header_like, write_image
from roistream.outputs import whole_file
from roistream.reporting import reporting
from roistream.study.repetition import tell_repetition
from roistream.study.run_lengths import write_run_lengths

logger = logging.getLogger("roistream")

SPACE, SECONDS = 0x07, 8
"""Of NIfTI's ``xyzt_units``: the bits of the unit of space, and the code of seconds."""


def concatenate_runs(
    runs: Sequence[Path], image: Path, run_lengths: Path, t_r: float | None = None, t_r_source: str | None = None
) -> None:
    """Write one image with the volumes of all runs; or a link, if a single run is what the strategies can read as it is.

    That is a 4D ``.nii.gz``: nibabel opens it, `decompress_image` makes a plain copy of it, and NiftiMasker refuses what has
    axes behind the 4th. Any other single run is converted like several of them.

    The values are those of the runs, never quantised anew: when all runs store the same type with the same scaling the
    stored values are copied, else the scaled values are written as float32, as nilearn's ``concat_imgs`` would give them.

    Parameters
    ----------
    runs : sequence of path
        4D images, or 3D volumes, of one grid, affine and TR.
    image : path
        The image to write; geometry, codes and units are the first run's. A TR that is sure is written, too.
    run_lengths : path
        TSV to write: ``run``, ``first_volume``, ``n_volumes``.
    t_r, t_r_source
        What somebody says of the TR, see `roistream.images.series.repetition_time`.

    Raises
    ------
    UserError
        A run is unreadable or does not fit the first one.
    """
    tell_repetition(runs)
    inputs = Unchanged(runs)
    series = open_series(runs)
    tell(series.remarks)
    time = repetition_time(series.runs, t_r, t_r_source)
    warn(time)
    if len(runs) == 1 and is_readable(series.runs[0]) and image.name.endswith(".nii.gz"):
        with whole_file(image) as partial:
            partial.unlink(missing_ok=True)
            partial.symlink_to(series.path.absolute())
        logger.info("%d volumes of %s: a link to %s.", series.n_volumes, series.grid, series.path)
    else:
        copy_volumes(series, image, time, inputs)
    write_run_lengths(series.runs, run_lengths)
    log_source(time.seconds, time.source)


def is_readable(run: Image) -> bool:
    """Tell whether all strategies can read a run as it is."""
    is_pair = len(set(files_of(run.path))) == 2
    return run.compression == "gz" and not is_pair and len(run.header.shape) == 4


def copy_volumes(series: Series, image: Path, time: RepetitionTime, inputs: Unchanged) -> None:
    """Write the volumes of a series into one file."""
    layout = series.runs[0].layout
    if series.same_storage:
        dtype, slope, inter = layout.raw_dtype.newbyteorder("="), layout.slope, layout.inter
        pieces = (block.values for block in progress(read_stored(series), series, "copying"))
    else:
        dtype, slope, inter = np.dtype(np.float32), 1.0, 0.0
        blocks = progress(read_blocks(series), series, "converting")
        pieces = (block.values.astype("<f4", copy=False) for block in blocks)
    logger.info("%d file(s), %d volumes of %s as %s.", len(series.runs), series.n_volumes, series.grid, dtype)
    header = header_like(series.runs[0], series.n_volumes, dtype, slope, inter)
    if not time.problem or series.runs[0].is_volume:  # what a single volume has there is no TR
        header["pixdim"][4] = 0 if time.problem else time.seconds
        header["xyzt_units"] = int(header["xyzt_units"]) & SPACE | SECONDS
    write_image(image, header, inputs.during(pieces))


def parse_arguments() -> dict:
    """Read the command line into the parameters of `concatenate_runs`, and ``log``."""
    parser = argparse.ArgumentParser(description="Concatenate the runs of an image along time.")
    parser.add_argument("--runs", required=True, type=Path, nargs="+", help="4D images of one grid, in order")
    parser.add_argument("--image", required=True, type=Path, help="image to write, .nii or .nii.gz")
    parser.add_argument("--run-lengths", required=True, type=Path, metavar="TSV", help="table of the runs to write")
    add_time_options(parser)
    add_log_option(parser)
    return parse(parser)


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        concatenate_runs(**arguments)
