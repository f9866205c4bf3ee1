"""Several files as one image: runs of one grid, read one after another as if they were one file, without a copy.

A series has what an `Image` has, so that whoever goes through volumes need not know which of the two it is. Its values are
those of the file that concatenation would write: where all runs store the same type with the same scaling they are as each
run gives them, else they are rounded to float32. A 3D image is a run of one volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.grids import corner_distance, same_grid
from roistream.images.image import Image, inspect_run


@dataclass(frozen=True)
class Series:
    """Runs of one grid as one image.

    Attributes
    ----------
    runs : tuple of Image
        In the order of their volumes.
    """

    runs: tuple[Image, ...]

    @property
    def path(self) -> Path:
        """The first file, which stands for all in messages."""
        return self.runs[0].path

    @property
    def grid(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        return self.runs[0].grid

    @property
    def affine(self) -> np.ndarray:
        """4 × 4, from voxel indices to millimetres: the first run's."""
        return self.runs[0].affine

    @property
    def t_r(self) -> float | None:
        """Repetition time in seconds; None where the header says nothing."""
        return self.runs[0].t_r

    @cached_property
    def n_volumes(self) -> int:
        """Volumes of all runs."""
        return sum(run.n_volumes for run in self.runs)

    @property
    def n_voxels(self) -> int:
        """Voxels of one volume."""
        return self.runs[0].n_voxels

    @property
    def mib(self) -> float:
        """Size of the raw data in MiB, as stored without compression."""
        return sum(run.mib for run in self.runs)

    @cached_property
    def same_storage(self) -> bool:
        """Whether all runs store the same type with the same scaling; their byte orders may differ."""
        return (
            len({(run.layout.raw_dtype.newbyteorder("="), run.layout.slope, run.layout.inter) for run in self.runs})
            == 1
        )

    @cached_property
    def dtype(self) -> np.dtype:
        """Type of the values that blocks have."""
        if not self.same_storage:
            return np.dtype(np.float32)
        dtypes = {run.dtype for run in self.runs}
        return dtypes.pop() if len(dtypes) == 1 else self.runs[0].dtype.newbyteorder("=")

    @property
    def widest(self) -> int:
        """Bytes of a value, stored or scaled or rounded, whichever is largest."""
        return max(self.dtype.itemsize, *(run.widest for run in self.runs))

    @cached_property
    def run_lengths(self) -> list[int]:
        """Volumes of each run, as cleaning counts them: 3D images that follow each other are one run."""
        lengths = []
        for single, runs in groupby(self.runs, key=lambda run: run.is_volume):
            together = [run.n_volumes for run in runs]
            lengths += [sum(together)] if single else together
        return lengths


def open_series(paths: Sequence[str | Path]) -> Series:
    """Read the headers of the runs of an image.

    Parameters
    ----------
    paths : sequence of path
        At least one 4D or 3D image, in order.

    Returns
    -------
    Series
        Without any voxel data.

    Raises
    ------
    UserError
        A file is missing, unreadable or no image of real numbers, or does not fit the first one.
    """
    runs = tuple(inspect_run(path) for path in paths)
    check_runs_fit(runs)
    return Series(runs)


def check_runs_fit(runs: Sequence[Image]) -> None:
    """Refuse runs that cannot be parts of one image.

    Raises
    ------
    UserError
        A run's grid, affine or TR differs from the first one's; names both files and the difference.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.grid != first.grid:
            difference = f"the grid {run.grid} against {first.grid}"
        elif not same_grid(first.grid, first.affine, run.grid, run.affine):
            apart = corner_distance(first.grid, first.affine, run.affine)
            difference = f"another affine, a corner is off by {apart:.4g} voxels"
        elif (run.t_r is None) != (first.t_r is None) or abs((run.t_r or 0) - (first.t_r or 0)) > 1e-4:
            difference = f"TR {tell_t_r(run)} against {tell_t_r(first)}"
        else:
            continue
        raise UserError(
            f"{run.path} does not fit {first.path}: {difference}; resample it, or make it an image of its own."
        )


def tell_t_r(run: Image) -> str:
    """Word a run's TR."""
    return "unset" if run.t_r is None else f"{run.t_r} s"
