"""Reduce blocks of volumes to the weights of maps: least squares, with one factorisation for all blocks.

nilearn decomposes the maps anew with each call, in single precision for images and maps of float32. Here the maps are kept sparse
where they are, everything is computed in double precision, and the signals are rounded to nilearn's type at the end.

For maps ``A`` and volumes ``Y`` the weights are ``P Aᵀ Y`` with ``P = (AᵀA)⁺``. Where the maps are far from depending on each
other ``P`` comes from ``AᵀA``, else from the triangle of a QR decomposition of ``A``, which is made from a few rows at a time,
and the weights are improved once by what they leave over. Maps that depend on each other to the precision of nilearn's
computation are treated as dependent, as there: the weights of least norm are taken.
"""

from __future__ import annotations

import copy
from typing import Any

import nibabel as nib
import numpy as np
from scipy import linalg, sparse

from roistream.maskers.finite import finite, warn_not_finite
from roistream.maskers.lazy import as_image
from roistream.maskers.sparse_maps import SparseMaps, columns_of, gather

WELL_CONDITIONED = 1e-8
"""Ratio of the least to the greatest eigenvalue of AᵀA from which on it may be inverted: its digits lost are 8 of 16."""

QR_ROWS = 4096
"""Rows that are added to the triangle at a time."""


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
        support = np.flatnonzero(np.diff(columns.tocsr().indptr)) if mask_img is None else inside_maps(columns)
        self.positions = support
        self.maps = as_dense_if_full(columns.tocsr()[support].astype(np.float64))
        # nilearn leaves the choice between single and double precision to scipy.
        types = (np.empty(0, columns.dtype), np.empty(0, empty.get_data_dtype()))
        single = linalg.get_lapack_funcs(("gelsd",), types)[0].dtype == np.float32
        self.factor, self.refines = pseudo_inverse_of_gram(self.maps, np.float32 if single else np.float64)
        self.signals = np.empty((n_volumes, columns.shape[1]), np.float32 if single else np.float64)
        self.warned = False

    def add(self, first: int, values: np.ndarray) -> None:
        """Reduce some volumes, see `Reduction.add`."""
        picked = np.take(values, self.positions, axis=1, mode="clip")
        self.warned = self.warned or warn_not_finite(picked)
        volumes = finite(picked).T.astype(np.float64)
        weights = self.factor @ (self.maps.T @ volumes)
        if self.refines:
            weights += self.factor @ (self.maps.T @ (volumes - self.maps @ weights))
        self.signals[first : first + len(values)] = weights.T

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
    columns = sparse.csc_array(sparse.diags_array(inside.astype(columns.dtype)) @ columns)
    columns.eliminate_zeros()
    filled = np.diff(columns.indptr) > 0
    two = np.array([filled, np.ones(len(filled))], np.float32).reshape(2, 1, 1, -1)
    small = copy.copy(extract)
    small.maps_img_ = nib.Nifti1Image(two, np.eye(4))
    small.mask_img_ = nib.Nifti1Image(np.array([1, 0], np.uint8).reshape(2, 1, 1), np.eye(4))
    _, kept = small(nib.Nifti1Image(np.zeros((2, 1, 1, 1), np.float32), np.eye(4)))
    kept = [int(number) for number in kept]
    return columns[:, kept], kept


def inside_maps(columns: sparse.csc_array) -> np.ndarray:
    """Find the voxels that nilearn uses where there is a mask: those in which some map is above 0."""
    return np.unique(columns.indices[columns.data > 0])


def as_dense_if_full(maps: sparse.csr_array) -> sparse.csr_array | np.ndarray:
    """Keep maps sparse where that takes less memory."""
    return maps if maps.nnz * 12 < maps.shape[0] * maps.shape[1] * 8 else maps.toarray()


def pseudo_inverse_of_gram(maps: sparse.csr_array | np.ndarray, precision: type) -> tuple[np.ndarray, bool]:
    """Compute ``(AᵀA)⁺``, and tell whether what it gives should be improved once.

    Parameters
    ----------
    maps : array or sparse array
        ``(n_voxels, n_maps)``, float64.
    precision : type
        Directions that are weaker than the strongest by more than this type can tell count as none.
    """
    gram = maps.T @ maps
    gram = gram.toarray() if sparse.issparse(gram) else gram
    values, vectors = linalg.eigh(gram)
    if values.size and values[0] > WELL_CONDITIONED * values[-1]:
        return (vectors / values) @ vectors.T, False
    _, singular, directions = linalg.svd(triangle(maps), full_matrices=False)
    kept = singular > np.finfo(precision).eps * singular.max(initial=0)
    return (directions[kept].T / singular[kept] ** 2) @ directions[kept], True


def triangle(maps: sparse.csr_array | np.ndarray) -> np.ndarray:
    """Compute the triangle of a QR decomposition, some rows after the others."""
    found = np.zeros((0, maps.shape[1]))
    for first in range(0, maps.shape[0], QR_ROWS):
        rows: Any = maps[first : first + QR_ROWS]
        found = linalg.qr(np.vstack([found, np.asarray(rows.todense() if sparse.issparse(rows) else rows)]), mode="r")[
            0
        ]
        found = found[: maps.shape[1]]
    return found


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
