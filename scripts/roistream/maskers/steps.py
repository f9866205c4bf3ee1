"""What is done to the volumes of an image before they are reduced, each by itself: another type, another grid, smoothing.

All of it is nilearn's own arithmetic, applied to a few volumes at a time. One thing asks for the whole image: nilearn clips
resampled values to its range, which is found by a pass of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np

from roistream.images.smoothing import SMOOTHING_BLOCK_BYTES
from roistream.images.volumes import BLOCK_BYTES
from roistream.maskers import nilearn_internals as internals
from roistream.maskers.blocks import blocks_of
from roistream.maskers.lazy import as_image, value_dtype


@dataclass(frozen=True)
class Volumes:
    """Some volumes on their way.

    Attributes
    ----------
    values : numpy.ndarray
        ``(n_volumes, n_voxels)``, voxels in the order of a file (x fastest).
    grid : tuple of int
        Voxels along x, y, z.
    affine : numpy.ndarray
        4 × 4.
    """

    values: np.ndarray
    grid: tuple[int, ...]
    affine: np.ndarray

    def as_image(self, like: nib.Nifti1Pair) -> nib.Nifti1Image:
        """Make a 4D image of them."""
        return as_image(self.values.T.reshape((*self.grid, -1), order="F"), like, self.affine)

    def stand_in(self, like: nib.Nifti1Pair) -> nib.Nifti1Image:
        """Make a 4D image of one volume of zeros on the same grid."""
        zeros = np.zeros((1, int(np.prod(self.grid))), self.values.dtype)
        return Volumes(zeros, self.grid, self.affine).as_image(like)


@dataclass(frozen=True)
class Steps:
    """The steps for the volumes of one image.

    Attributes
    ----------
    image : nibabel image
        Where the volumes come from.
    dtype : numpy.dtype, optional
        Type that they are given first.
    target_affine, target_shape : optional
        The grid that they are resampled to.
    limits : tuple of float, optional
        Least and greatest value of the image, for resampling.
    fwhm : optional
        Width of the smoothing, in any way that nilearn takes it.
    """

    image: nib.Nifti1Pair
    dtype: np.dtype | None
    target_affine: Any = None
    target_shape: Any = None
    limits: tuple[Any, Any] | None = None
    fwhm: Any = None

    @classmethod
    def of(cls, image: nib.Nifti1Pair, parameters: Mapping[str, Any], dtype: Any) -> Steps | None:
        """Take the steps from a masker's parameters; None for those that depend on the whole image in a way that is not ours."""
        values = value_dtype(image)
        wanted = values if dtype is None else np.dtype(automatic(values) if dtype == "auto" else dtype)
        affine, shape = parameters.get("target_affine"), parameters.get("target_shape")
        processed = affine is not None or shape is not None or parameters.get("smoothing_fwhm") is not None
        remade = processed or wanted != values or image.ndim == 3 or hasattr(image.dataobj, "blocks")
        if wanted.kind not in "iuf" or (remade and wanted.itemsize == 8 and wanted.kind in "iu"):
            return None  # nilearn looks at all values to choose between 32 and 64 bit
        limits = extremes(image, None if wanted == values else wanted) if resamples(image, affine, shape) else None
        fwhm = parameters.get("smoothing_fwhm")
        return cls(image, None if wanted == values else wanted, affine, shape, limits, fwhm)

    @property
    def block_bytes(self) -> int:
        """Budget of a block."""
        return BLOCK_BYTES if self.limits is None and self.fwhm is None else SMOOTHING_BLOCK_BYTES

    def tell(self, verbose: int) -> None:
        """Say what will be done, as nilearn does."""
        if self.limits is not None:
            internals.said("Resampling images", verbose)
        if self.fwhm is not None:
            internals.said("Smoothing images", verbose)

    def take(self, values: np.ndarray) -> Volumes:
        """Do the steps to the values of some volumes."""
        from nilearn.image import resample_img, smooth_img

        if self.dtype is not None:
            values = values.astype(self.dtype)
        volumes = Volumes(values, self.image.shape[:3], self.image.affine)
        if self.limits is None and self.fwhm is None:
            return volumes
        done = volumes.as_image(self.image)
        if self.limits is not None:
            done = resample_img(
                done,
                target_affine=self.target_affine,
                target_shape=self.target_shape,
                interpolation="continuous",
                copy=False,
                clip=False,
            )
            data = np.asarray(done.dataobj)
            data.clip(*self.limits, out=data)
        if self.fwhm is not None:
            done = smooth_img(done, self.fwhm)
        data = np.asarray(done.dataobj)
        return Volumes(data.reshape((-1, data.shape[3]), order="F").T, data.shape[:3], done.affine)


def automatic(dtype: np.dtype) -> type:
    """Choose the type that nilearn calls "auto"."""
    return np.int32 if dtype.kind == "i" else np.float32


def resamples(image: nib.Nifti1Pair, affine: Any, shape: Any) -> bool:
    """Tell whether nilearn resamples an image onto a grid; one that is the image's own within rounding it leaves alone."""
    if affine is None and shape is None:
        return False
    whole = affine is not None and shape is not None and np.shape(affine) == (4, 4)
    return not (whole and tuple(shape) == image.shape[:3] and np.allclose(affine, image.affine))


def extremes(image: nib.Nifti1Pair, dtype: np.dtype | None) -> tuple[Any, Any]:
    """Find the least and the greatest value of an image, among them 0, as nilearn's clipping takes them."""
    low: Any = None
    high: Any = None
    for values in blocks_of(image):
        if dtype is not None:
            values = values.astype(dtype)
        with np.errstate(invalid="ignore"):
            low = np.fmin.reduce(values, axis=None) if low is None else np.fmin(low, np.fmin.reduce(values, axis=None))
            high = (
                np.fmax.reduce(values, axis=None) if high is None else np.fmax(high, np.fmax.reduce(values, axis=None))
            )
    return min(low, 0), max(high, 0)
