#!/usr/bin/env python3
"""Concatenate the runs of an image along time, without loading any of them."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from roistream.cleaning.signals import as_float32
from roistream.command_line import add_log_option
from roistream.images.image import Image, inspect
from roistream.images.progress import progress
from roistream.images.volumes import read_blocks, read_stored
from roistream.images.writing import header_like, write_image
from roistream.reporting import reporting
from roistream.study.runs import check_runs_fit, write_run_lengths

logger = logging.getLogger("roistream")


def concatenate_runs(runs: Sequence[Path], image: Path, run_lengths: Path) -> None:
    """Write one image with the volumes of all runs.

    The values are those of the runs, never quantised anew: when all runs store the same type with the same scaling the
    stored values are copied, else the scaled values are written as float32, as nilearn's ``concat_imgs`` would give them.

    Parameters
    ----------
    runs : sequence of path
        4D images of one grid, affine and TR.
    image : path
        The image to write; geometry, codes, TR and units are the first run's.
    run_lengths : path
        TSV to write: ``run``, ``first_volume``, ``n_volumes``.

    Raises
    ------
    UserError
        A run is unreadable or does not fit the first one.
    """
    sources = [inspect(run) for run in runs]
    check_runs_fit(sources)
    n_volumes = sum(source.n_volumes for source in sources)
    storages = {(s.layout.raw_dtype.newbyteorder("="), s.layout.slope, s.layout.inter) for s in sources}
    if len(storages) == 1:
        [(dtype, slope, inter)] = storages
        pieces = stored_values(sources)
    else:
        dtype, slope, inter = np.dtype(np.float32), 1.0, 0.0
        pieces = scaled_values(sources)
    logger.info("%d run(s), %d volumes of %s as %s.", len(sources), n_volumes, sources[0].grid, dtype)
    write_image(image, header_like(sources[0], n_volumes, dtype, slope, inter), pieces)
    write_run_lengths(sources, run_lengths)


def stored_values(sources: Sequence[Image]) -> Iterator[np.ndarray]:
    """Go through the runs' values as they are stored."""
    for source in sources:
        for block in progress(read_stored(source), source, "copying"):
            yield block.values


def scaled_values(sources: Sequence[Image]) -> Iterator[np.ndarray]:
    """Go through the runs' values as float32."""
    for source in sources:
        for block in progress(read_blocks(source), source, "converting"):
            yield as_float32(block.values, source.path).astype("<f4", copy=False)


def parse_arguments() -> dict:
    """Read the command line into the parameters of `concatenate_runs`, and ``log``."""
    parser = argparse.ArgumentParser(description="Concatenate the runs of an image along time.")
    parser.add_argument("--runs", required=True, type=Path, nargs="+", help="4D images of one grid, in order")
    parser.add_argument("--image", required=True, type=Path, help="image to write, .nii or .nii.gz")
    parser.add_argument("--run-lengths", required=True, type=Path, metavar="TSV", help="table of the runs to write")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        concatenate_runs(**arguments)
