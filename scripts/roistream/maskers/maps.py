"""nilearn's maps, kept sparse: put on another grid one after the other; their weights are those of `roistream.regions.maps`."""

from __future__ import annotations

import copy
from typing import Any

import nibabel as nib
import numpy as np
from scipy import sparse

from roistream.maskers.finite import finite, warn_not_finite
from roistream.maskers.lazy import as_image
from roistream.maskers.sparse_maps import SparseMaps, columns_of
from roistream.regions.maps import LeastSquares, gather, restrict


class Maps:
    """The weights of maps."""

    def __init__(self, extract: Any, empty: nib.Nifti1Image, n_volumes: int):
        maps_img, mask_img = extract.maps_img_, extract.mask_img_
        for other in (maps_img, mask_img):
            if other is not None:
                check_grid(empty, other)
        columns = columns_of(maps_img)
        self.aux = list(range(columns.shape[1]))
        if mask_img is not None:
            columns, self.aux = within_mask(columns, extract, empty)
        self.squares = LeastSquares(columns, mask_img is not None, empty.get_data_dtype())
        self.signals = np.empty((n_volumes, columns.shape[1]), self.squares.dtype)
        self.warned = False

    def add(self, first: int, values: np.ndarray) -> None:
        """Reduce some volumes, see `Reduction.add`."""
        picked = np.take(values, self.squares.positions, axis=1, mode="clip")
        self.warned = self.warned or warn_not_finite(picked)
        self.signals[first : first + len(values)] = self.squares.solve(finite(picked))

    def result(self) -> tuple[np.ndarray, object]:
        """Give signals and what comes with them."""
        return self.signals, self.aux


def check_grid(image: nib.Nifti1Image, other: nib.Nifti1Image) -> None:
    """Refuse maps or a mask that do not lie on the image's grid."""
    if image.shape[:3] != other.shape[:3]:
        raise ValueError(f"Images have incompatible shapes: {image.shape[:3]} and {other.shape[:3]}.")
    if not np.allclose(image.affine, other.affine, rtol=0, atol=1000 * np.finfo(np.float32).eps):
        raise ValueError("Images have different affine matrices.")


def within_mask(columns: sparse.csc_array, extract: Any, empty: nib.Nifti1Image) -> tuple[sparse.csc_array, list[int]]:
    """Restrict maps to a mask; nilearn itself says which are left, and warns, of maps of two voxels, one of them masked."""
    from nilearn.image import get_data, load_img

    inside = get_data(load_img(extract.mask_img_)).astype(bool).ravel(order="F")
    columns = restrict(columns, inside)
    filled = np.diff(columns.indptr) > 0
    two = np.array([filled, np.ones(len(filled))], np.float32).reshape(2, 1, 1, -1)
    small = copy.copy(extract)
    small.maps_img_ = nib.Nifti1Image(two, np.eye(4))
    small.mask_img_ = nib.Nifti1Image(np.array([1, 0], np.uint8).reshape(2, 1, 1), np.eye(4))
    _, kept = small(nib.Nifti1Image(np.zeros((2, 1, 1, 1), np.float32), np.eye(4)))
    kept = [int(number) for number in kept]
    return columns[:, kept], kept


def stand_in_for(maps_img: nib.Nifti1Image) -> nib.Nifti1Image:
    """Give one map instead of many, which has a value wherever one of them has: a masker can be fitted to it."""
    columns = columns_of(maps_img)
    values = np.asarray(abs(columns).sum(axis=1)).reshape((*maps_img.shape[:3], 1), order="F")
    return as_image(values.astype(columns.dtype), maps_img)


def resampled(maps_img: nib.Nifti1Image, like: nib.Nifti1Image) -> nib.Nifti1Image:
    """Put maps on another grid, one after the other, to the values that nilearn gives them.

    Parameters
    ----------
    maps_img : nibabel image
        With `SparseMaps`.
    like : nibabel image
        On the grid that is wanted.
    """
    from nilearn.image import resample_img

    def on_grid(number: int) -> np.ndarray:
        volume = as_image(np.asarray(maps_img.dataobj[..., number])[..., np.newaxis], maps_img)
        done = resample_img(
            volume,
            target_affine=like.affine,
            target_shape=like.shape[:3],
            interpolation="linear",
            clip=False,
        )
        return np.asarray(done.dataobj)[..., 0].ravel(order="F").clip(*limits)

    columns = columns_of(maps_img)
    limits = min(columns.data.min(initial=0), 0), max(columns.data.max(initial=0), 0)
    volumes = (on_grid(number) for number in range(columns.shape[1]))
    return as_image(SparseMaps(gather(volumes, like.shape[:3]), like.shape[:3]), maps_img, like.affine)


def resample_maps(img: Any, **options: Any) -> nib.Nifti1Image:
    """Resample as nilearn does; sparse maps one after the other."""
    from nilearn.image import resample_img

    if not isinstance(getattr(img, "dataobj", None), SparseMaps):
        return resample_img(img, **options)
    grid = np.broadcast_to(np.uint8(0), options["target_shape"])
    return resampled(img, nib.Nifti1Image(grid, options["target_affine"]))
