#!/usr/bin/env python3
"""Simulate a brain atlas of compact parcels on BASC's grid, offline."""

import argparse
import logging
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option, positive
from roistream.images.writing import new_header, write_image
from roistream.reporting import reporting
from roistream.samples.simulation import ATLAS_AFFINE, simulate_labels

logger = logging.getLogger("roistream")


def simulate_atlas(atlas: Path, n_parcels: int, seed: int) -> None:
    """Write a label image with parcels of similar size inside the MNI152 brain.

    Parameters
    ----------
    atlas : path
        The ``.nii.gz`` to write: int16, 3 mm, on another grid than the ADHD runs', as BASC is.
    n_parcels : int
        Labels 1 to `n_parcels`; every one of them is present.
    seed : int
        Of the random numbers.
    """
    labels = simulate_labels(n_parcels, seed)
    header = new_header(labels.shape, labels.dtype, ATLAS_AFFINE)
    header.set_sform(ATLAS_AFFINE, code="mni")
    header.set_qform(ATLAS_AFFINE, code="mni")
    # A file holds the voxels with x fastest: Fortran order.
    write_image(atlas, header, [labels.ravel(order="F").astype("<i2")])
    sizes = np.bincount(labels.ravel())[1:]
    logger.info("Simulated %d parcels of %d to %d voxels.", n_parcels, sizes.min(), sizes.max())


def parse_arguments() -> dict:
    """Read the command line into the parameters of `simulate_atlas`, and ``log``."""
    parser = argparse.ArgumentParser(description="Simulate an atlas of compact parcels.")
    parser.add_argument("--atlas", required=True, type=Path, help="label image to write, .nii.gz")
    parser.add_argument("--n-parcels", required=True, type=positive, metavar="N", help="labels 1 to N")
    parser.add_argument("--seed", required=True, type=int, help="of the random numbers")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        simulate_atlas(**arguments)
