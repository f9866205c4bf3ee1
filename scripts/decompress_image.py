#!/usr/bin/env python3
"""Make the uncompressed copy of an image that memory mapping needs, without loading it."""

import argparse
from pathlib import Path

from roistream.command_line import add_log_option
from roistream.images.image import inspect
from roistream.images.progress import progress
from roistream.images.unchanged import Unchanged
from roistream.images.volumes import read_stored
from roistream.images.writing import header_like, write_image
from roistream.reporting import reporting


def decompress_image(compressed: Path, plain: Path) -> None:
    """Write the same image without compression: same stored values, type and scaling.

    Parameters
    ----------
    compressed : path
        4D image, ``.nii.gz``.
    plain : path
        The ``.nii`` to write.

    Raises
    ------
    UserError
        The image is unreadable.
    """
    inputs = Unchanged([compressed])
    source = inspect(compressed)
    layout = source.layout
    header = header_like(source, layout.n_volumes, layout.raw_dtype, layout.slope, layout.inter)
    pieces = (block.values for block in progress(read_stored(source), source, "decompressing"))
    write_image(plain, header, inputs.during(pieces))


def parse_arguments() -> dict:
    """Read the command line into the parameters of `decompress_image`, and ``log``."""
    parser = argparse.ArgumentParser(description="Make the uncompressed copy of an image.")
    parser.add_argument("compressed", type=Path, help="4D image, .nii.gz")
    parser.add_argument("plain", type=Path, help="the .nii to write")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        decompress_image(**arguments)
