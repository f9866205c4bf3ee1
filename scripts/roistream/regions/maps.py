"""Reduce volumes to the weights of maps: least squares, with one factorisation for all blocks of an image.

nilearn decomposes the maps anew with each call, in single precision for images and maps of float32. Here the maps are kept sparse
where they are, everything is computed in double precision, and the signals are rounded to nilearn's type at the end.

For maps ``A`` and volumes ``Y`` the weights are ``P Aᵀ Y`` with ``P = (AᵀA)⁺``. Where the maps are far from depending on each
other ``P`` comes from ``AᵀA``, else from the triangle of a QR decomposition of ``A``, which is made from a few rows at a time,
and the weights are improved once by what they leave over. Maps that depend on each other to the precision of nilearn's
computation are treated as dependent, as there: the weights of least norm are taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import linalg, sparse

WELL_CONDITIONED = 1e-8
"""Ratio of the least to the greatest eigenvalue of AᵀA from which on it may be inverted: its digits lost are 8 of 16."""

QR_ROWS = 4096
"""Rows that are added to the triangle at a time."""

FEW = 4
"""Maps after which `gather` first looks at how full they are."""


class LeastSquares:
    """The weights of maps.

    Parameters
    ----------
    columns : scipy.sparse.csc_array
        ``(n_voxels, n_maps)``, voxels in the order of a file (x fastest).
    masked : bool
        Whether the maps have been restricted to a mask: nilearn then uses the voxels in which some map is above 0.
    dtype : numpy.dtype
        Of the volumes to come.

    Attributes
    ----------
    positions : numpy.ndarray
        Where the voxels that are used lie in a volume of the file.
    dtype : numpy.dtype
        In which nilearn gives the weights.
    """

    def __init__(self, columns: sparse.csc_array, masked: bool, dtype: np.dtype):
        rows = columns.tocsr()
        self.positions = inside_maps(columns) if masked else np.flatnonzero(np.diff(rows.indptr))
        self.maps = as_dense_if_full(rows[self.positions].astype(np.float64))
        # nilearn leaves the choice between single and double precision to scipy.
        types = (np.empty(0, columns.dtype), np.empty(0, dtype))
        single = linalg.get_lapack_funcs(("gelsd",), types)[0].dtype == np.float32
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.factor, self.refines = pseudo_inverse_of_gram(self.maps, self.dtype.type)

    def solve(self, values: np.ndarray) -> np.ndarray:
        """Give the weights of some volumes, float64 ``(n_volumes, n_maps)``, from the finite values of `positions`."""
        volumes = values.T.astype(np.float64)
        weights = self.factor @ (self.maps.T @ volumes)
        if self.refines:
            weights += self.factor @ (self.maps.T @ (volumes - self.maps @ weights))
        return weights.T


def inside_maps(columns: sparse.csc_array) -> np.ndarray:
    """Find the voxels that nilearn uses where there is a mask: those in which some map is above 0."""
    return np.unique(columns.indices[columns.data > 0])


def restrict(columns: sparse.csc_array, inside: np.ndarray) -> sparse.csc_array:
    """Take from maps what lies outside of a mask, given as bool for each voxel in the order of the file."""
    columns = sparse.csc_array(sparse.diags_array(inside.astype(columns.dtype)) @ columns)
    columns.eliminate_zeros()
    return columns


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


def gather(volumes: Iterable[np.ndarray], grid: tuple[int, ...], fullest: float = 1.0) -> sparse.csc_array | None:
    """Take maps, each an array of its voxels in the order of a file, one after the other; None if there are too many values.

    Values that are not finite become 0, and integers become floating point numbers, as nilearn prepares maps.
    """
    n_voxels = int(np.prod(grid))
    rows: list[np.ndarray] = []
    values: list[np.ndarray] = []
    ends = [0]
    for volume in volumes:
        filled = np.flatnonzero(np.isfinite(volume) & (volume != 0)).astype(np.int32)
        rows.append(filled)
        values.append(volume[filled])
        ends.append(ends[-1] + filled.size)
        if ends[-1] > fullest * n_voxels * max(len(rows), FEW):
            return None
    data = np.concatenate(values)
    data = data.astype(data.dtype.newbyteorder("="), copy=False)
    if data.dtype.kind != "f":
        data = data.astype(np.float64 if data.dtype.itemsize == 8 else np.float32)
    return sparse.csc_array((data, np.concatenate(rows), ends), shape=(n_voxels, len(rows)))
