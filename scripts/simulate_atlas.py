"""Simulate a brain atlas of compact parcels on BASC's grid, offline."""

import logging
from pathlib import Path

import numpy as np

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


if __name__ == "__main__":
    with reporting(snakemake.log[0]):
        simulate_atlas(
            atlas=Path(snakemake.output.atlas),
            n_parcels=snakemake.params.n_parcels,
            seed=snakemake.params.seed,
        )
