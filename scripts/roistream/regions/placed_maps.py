"""Maps or spheres on the grid of an image: regions that may share voxels, held as the columns of a sparse array.

What belongs to which region is a weight: the value of a map, or 1 in a sphere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from scipy import sparse

from roistream.errors import UserError
from roistream.outputs import as_json, whole_file
from roistream.paths import reading
from roistream.regions.constant import constant_signals
from roistream.regions.coverage import Region, read_regions, write_regions
from roistream.regions.kinds import LEAST_SQUARES
from roistream.regions.maps import LeastSquares, restrict
from roistream.regions.placed import read_placed_sidecar, sidecar_of
from roistream.regions.spheres import average

DIGITS = 9
"""Digits of coverage behind which there is only rounding."""


@dataclass(frozen=True)
class PlacedMaps:
    """Maps or spheres on a grid.

    Attributes
    ----------
    kind : {"maps", "spheres"}
        Which of them.
    grid : tuple of int
        Voxels along x, y, z.
    columns : scipy.sparse.csc_array
        ``(n_voxels, n_maps)``, voxels in the order of a file (x fastest): first the regions asked for, in their order, then the
        other maps, which have a part in the least squares.
    regions : list of Region
        The regions asked for.
    inside : numpy.ndarray
        float64; for each of them the share of its weight, or of its sphere's voxels, that lies on the grid.
    remarks : tuple of str
        Sentences on what is odd about the atlas.
    source : str
        The file that it was.
    totals : numpy.ndarray, optional
        float64; the weight of each region before it was restricted to a mask, if it was.
    """

    kind: str
    grid: tuple[int, ...]
    columns: sparse.csc_array
    regions: list[Region]
    inside: np.ndarray
    remarks: tuple[str, ...] = ()
    source: str = ""
    totals: np.ndarray | None = None

    @property
    def wanted(self) -> list[int]:
        """Labels of the regions."""
        return [region.label for region in self.regions]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Maps, weights that are not 0, and voxels in which there are some."""
        return self.columns.shape[1], self.columns.nnz, np.unique(self.columns.indices).size

    def restrict(self, mask: np.ndarray) -> PlacedMaps:
        """Take away what lies outside of a mask (bool, in the order of the file), as ``mask_img`` of nilearn's maskers does."""
        weights = abs(self.columns[:, : len(self.regions)]).sum(axis=0)
        return replace(self, columns=restrict(self.columns, mask), totals=np.asarray(weights, np.float64).ravel())

    def prepare(self, statistics: Sequence[str], n_volumes: int) -> PreparedMaps:
        """Prepare the reduction of so many volumes; there is one statistic."""
        [statistic] = statistics
        return PreparedMaps(self, statistic, n_volumes)


class PreparedMaps:
    """The reduction of volumes to the regions of maps or spheres; see `roistream.study.extraction.Reduction`."""

    def __init__(self, placed: PlacedMaps, statistic: str, n_volumes: int):
        self.statistic, self.n_volumes, self.masked = statistic, n_volumes, placed.totals is not None
        self.n_regions = len(placed.regions)
        filled = np.zeros(placed.columns.shape[0], bool)
        filled[placed.columns.indices] = True
        self.positions = self.watched = in_c_order(np.flatnonzero(filled), placed.grid)
        self.columns = sparse.csc_array(placed.columns.tocsr()[self.positions])
        self.columns.sort_indices()
        self.weights = abs(self.columns[:, : self.n_regions]).astype(np.float64)
        self.members = sparse.csc_array(self.weights > 0)
        self.n_voxels = np.diff(self.members.indptr)
        totals = self.weights.sum(axis=0) if placed.totals is None else placed.totals
        nowhere = np.where(np.isnan(placed.inside), np.nan, 0.0)
        self.shares = np.divide(placed.inside, totals, out=nowhere, where=totals > 0)
        # Maps that lie wholly outside are none of the equations.
        self.solved = np.flatnonzero(np.diff(self.columns.indptr))
        self.squares: LeastSquares | None = None

    def reduce(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Reduce some volumes, given by the values of `positions`."""
        return {self.statistic: self.fit(values) if self.statistic == LEAST_SQUARES else self.mean(values)}

    def fit(self, values: np.ndarray) -> np.ndarray:
        """Give the weights of the maps, NaN for one without a voxel."""
        if self.squares is None:
            self.squares = LeastSquares(self.columns[:, self.solved], self.masked, values.dtype)
        used = self.squares.positions
        weights = np.full((len(values), self.columns.shape[1]), np.nan, self.squares.dtype)
        weights[:, self.solved] = self.squares.solve(values if used.size == values.shape[1] else values[:, used])
        return weights[:, : self.n_regions]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Average the voxels of spheres; unlike nilearn, which gives integers for integers."""
        dtype = values.dtype.newbyteorder("=") if values.dtype.kind == "f" else np.dtype(np.float64)
        spheres = [self.columns.indices[first:end] for first, end in pairwise(self.columns.indptr)]
        return average(values, spheres, dtype, alone=self.n_volumes == 1)

    def count(self, of_voxels: np.ndarray) -> np.ndarray:
        """Add up for each region what its voxels have."""
        return self.members.T.astype(np.int64) @ of_voxels.astype(np.int64)

    def coverage(self, covered: np.ndarray) -> np.ndarray:
        """Work out which share of each region's weight is covered by some of the voxels; rounding apart."""
        return np.round(self.shares * (self.weights.T @ covered.astype(np.float64)), DIGITS)

    def constant(self, signals: np.ndarray, run_lengths: Sequence[int]) -> np.ndarray:
        """Tell which signals are constant over a run; in weights of maps some rounding is left."""
        if self.statistic != LEAST_SQUARES:
            return constant_signals(signals, run_lengths)
        found = np.zeros(signals.shape[1], bool)
        noise = 4 * np.finfo(signals.dtype).eps
        for first, end in pairwise(np.cumsum([0, *run_lengths]).tolist()):
            if end - first > 1:
                of_run = signals[first:end]
                largest = abs(of_run).max(axis=0)
                found |= np.ptp(of_run, axis=0) <= noise * largest + 1e-12 * np.nanmax(largest, initial=0)
        return found


def in_c_order(positions: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Sort places in a volume of a file (x fastest) by the order of numpy (z fastest), in which nilearn sums."""
    x, y, z = np.unravel_index(positions, grid, order="F")
    return positions[np.argsort(np.ravel_multi_index((x, y, z), grid))]


def write_placed_maps(placed: PlacedMaps, columns: Path, regions: Path, inside: Path) -> None:
    """Write what `read_placed_maps` reads: a sparse array, the table of regions, shares, and a sidecar of the first."""
    with whole_file(columns) as partial, partial.open("wb") as stream:
        parts = {"data": placed.columns.data, "indices": placed.columns.indices, "indptr": placed.columns.indptr}
        np.savez(stream, grid=placed.grid, **parts)
    write_regions(placed.regions, regions)
    with whole_file(inside) as partial, partial.open("wb") as stream:
        np.save(stream, placed.inside)
    said = {
        "Kind": placed.kind,
        "Source": placed.source,
        "Weights": placed.sizes,
        "Remarks": placed.remarks,
    }
    with whole_file(sidecar_of(columns)) as partial:
        partial.write_text(as_json(said), "utf-8")


def read_placed_maps(columns: Path, regions: Path, inside: Path) -> PlacedMaps:
    """Read what `write_placed_maps` wrote."""
    try:
        with reading(columns), np.load(columns) as parts:
            grid = tuple(parts["grid"].tolist())
            shape = (int(np.prod(grid)), parts["indptr"].size - 1)
            array = sparse.csc_array((parts["data"], parts["indices"], parts["indptr"]), shape)
        with reading(inside):
            shares = np.load(inside)
        said = read_placed_sidecar(columns)
        kind, source, remarks = said["Kind"], said["Source"], tuple(said["Remarks"])
    except (EOFError, KeyError, ValueError, BadZipFile) as error:
        raise UserError(
            f"{columns} and what belongs to it cannot be read ({error}); give the files that place_atlas.py has written."
        ) from error
    return PlacedMaps(kind, grid, array, read_regions(regions), shares, remarks, source)
