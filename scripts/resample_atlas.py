"""Resample an atlas to the grid of an image, whose header is all that is read of it."""

import logging
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
from nilearn.image import resample_img

from roistream.errors import UserError
from roistream.images.series import inspect_file
from roistream.images.writing import new_header, write_image
from roistream.regions.atlas import read_atlas
from roistream.regions.coverage import inside_grid
from roistream.reporting import reporting

logger = logging.getLogger("roistream")


def resample_atlas(atlas: Path, image: Path, resampled: Path) -> None:
    """Write the atlas on the image's grid; each voxel gets the label of the nearest voxel of the atlas.

    Parameters
    ----------
    atlas : path
        3D label image.
    image : path
        4D image, or 3D volume, that gives grid and affine.
    resampled : path
        int32 label image to write.

    Raises
    ------
    UserError
        The atlas is no label image, or lies outside the image.
    """
    labels, affine = read_atlas(atlas)
    target = inspect_file(image)
    if not labels[inside_grid(labels.shape, affine, target.grid, target.affine)].any():
        raise UserError(
            f"No region of the atlas {atlas} lies inside {image}; check that both are in the same space (affine, origin)."
        )
    with warnings.catch_warnings():
        # nilearn announces that a future version will copy the header; here only the data are used.
        warnings.simplefilter("ignore", FutureWarning)
        on_grid = resample_img(
            nib.Nifti1Image(labels, affine),
            target_affine=target.affine,
            target_shape=target.grid,
            interpolation="nearest",
            copy_header=True,
            force_resample=True,
        )
    values = np.asarray(on_grid.dataobj).astype(np.int32)
    logger.info("%s %s resampled to %s.", atlas, labels.shape, target.grid)
    write_image(resampled, new_header(target.grid, np.int32, target.affine), [values.ravel(order="F")])


if __name__ == "__main__":
    with reporting(snakemake.log[0]):
        resample_atlas(
            atlas=Path(snakemake.input.atlas),
            image=Path(snakemake.input.image),
            resampled=Path(snakemake.output.resampled),
        )
