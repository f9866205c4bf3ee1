"""Several files as one image: the runs of an experiment, or the volumes of a run, one after the other along time.

A series has what the engine asks of an `roistream.images.image.Image`, and is read by the same
`roistream.images.volumes.read_blocks`. Its values are

- those of its files as they are, if all store the same type with the same scaling;
- else those values rounded to float32, as nilearn's ``concat_imgs`` would give them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.grids import corner_distance, same_grid
from roistream.images.image import Image, describe
from roistream.images.repetition_time import RepetitionTime, join, said_by_somebody, settle
from roistream.images.sidecars import Sidecars


@dataclass(frozen=True)
class Series:
    """Files of one grid, known from their headers alone.

    Attributes
    ----------
    runs : tuple of Image
        The files, in order; a 3D one counts as one volume.
    """

    runs: tuple[Image, ...]

    @property
    def path(self) -> Path:
        """The first file, by which messages call the series."""
        return self.runs[0].path

    @property
    def grid(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        return self.runs[0].grid

    @property
    def n_voxels(self) -> int:
        """Voxels of one volume."""
        return self.runs[0].n_voxels

    @cached_property
    def n_volumes(self) -> int:
        """Volumes of all files."""
        return sum(run.n_volumes for run in self.runs)

    @property
    def affine(self) -> np.ndarray:
        """4 × 4, from voxel indices to millimetres; the first file's."""
        return self.runs[0].affine

    @property
    def oriented(self) -> bool:
        """Whether the header of the first file says where it lies; else the affine is a guess."""
        return self.runs[0].oriented

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on what is odd about the files; one for all of which the same is to be said."""
        files: dict[str, list[Path]] = {}
        for run in self.runs:
            for remark in run.header.remarks:
                files.setdefault(remark, []).append(run.path)
        return tuple(
            f"{paths[0]}{f' and {len(paths) - 1} other file(s)' if paths[1:] else ''}: {remark}"
            for remark, paths in files.items()
        )

    @cached_property
    def mib(self) -> float:
        """Size of the raw data in MiB, as one file would store them without compression."""
        itemsize = self.runs[0].layout.raw_dtype.itemsize if self.same_storage else self.dtype.itemsize
        return self.n_volumes * self.n_voxels * itemsize / 2**20

    @cached_property
    def same_storage(self) -> bool:
        """Whether all files store the same type, in whatever byte order, with the same scaling."""
        layouts = [run.layout for run in self.runs]
        return len({(layout.raw_dtype.newbyteorder("="), layout.slope, layout.inter) for layout in layouts}) == 1

    @cached_property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        if not self.same_storage:
            return np.dtype(np.float32)
        [dtype, *others] = {run.dtype for run in self.runs}
        return dtype.newbyteorder("=") if others else dtype

    @cached_property
    def widest(self) -> int:
        """Bytes of a value, stored or scaled, whichever is larger."""
        return max(run.widest for run in self.runs)

    @cached_property
    def converts(self) -> bool:
        """Whether reading makes other values of those that some file stores."""
        return any(run.converts or run.dtype != self.dtype for run in self.runs)

    @cached_property
    def run_lengths(self) -> list[int]:
        """Volumes of each run, of which several 3D files may be one."""
        return [sum(file.n_volumes for file in files) for files in files_by_run(self.runs)]


def files_by_run(files: Iterable[Image]) -> list[list[Image]]:
    """Put the files of each run together: a 4D file is a run of its own, 3D files next to each other are one."""
    runs: list[list[Image]] = []
    for file in files:
        if runs and file.is_volume and runs[-1][-1].is_volume:
            runs[-1].append(file)
        else:
            runs.append([file])
    return runs


def open_series(paths: Sequence[str | Path]) -> Series:
    """Read the headers of files that are one image along time.

    Parameters
    ----------
    paths : sequence of path
        4D images or 3D volumes, in order; see `roistream.images.image.inspect`.

    Returns
    -------
    Series
        Without any voxel data.

    Raises
    ------
    UserError
        A file is missing, unreadable, neither 4D nor 3D, or does not fit the first one.

    Examples
    --------
    >>> import nibabel, numpy, tempfile
    >>> from roistream import open_series
    >>> image = nibabel.Nifti1Image(numpy.ones((4, 5, 3, 8), "f4"), numpy.eye(4))
    >>> path = f"{tempfile.mkdtemp()}/run.nii.gz"
    >>> image.to_filename(path)
    >>> series = open_series([path, path])
    >>> series.n_volumes, series.run_lengths
    (16, [8, 8])
    """
    series = Series(tuple(inspect_run(path) for path in paths))
    check_runs_fit(series.runs)
    return series


def inspect_run(path: str | Path) -> Image:
    """Read the header of a 4D image, or of a 3D image, which is a run of one volume."""
    image, shape = describe(Path(path), 4)
    if len(shape) not in (3, 4):
        raise UserError(f"{path} is {len(shape)}D (shape {shape}); give a 4D run, or 3D volumes that make one.")
    return image


def check_runs_fit(runs: Sequence[Image]) -> None:
    """Refuse runs that cannot be parts of one image.

    Raises
    ------
    UserError
        A run's grid or affine differs from the first one's; names both files and the difference.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.grid != first.grid:
            difference = f"the grid {run.grid} against {first.grid}"
        elif not same_grid(first.grid, first.affine, run.grid, run.affine):
            apart = corner_distance(first.grid, first.affine, run.affine)
            bare = "" if run.oriented and first.oriented else " (without an orientation code its place is a guess)"
            difference = f"another affine, by {apart:.3g} voxels at a corner{bare}"
        else:
            continue
        raise UserError(
            f"{run.path} does not fit {first.path}: {difference}; resample it, or make it an image of its own."
        )


def repetition_time(files: Sequence[Image], t_r: float | None = None, source: str | None = None) -> RepetitionTime:
    """Find the TR of an image.

    Parameters
    ----------
    files : sequence of Image
        Its runs, or 3D volumes of them.
    t_r : float, optional
        What somebody says, in seconds; it wins over sidecars and headers.
    source : str, optional
        Who says so; by default the option ``t_r``.

    Raises
    ------
    UserError
        `t_r` is none, or two runs have different ones.
    """
    given, sidecars = said_by_somebody(t_r, source), Sidecars()
    return join([(file.path, settle(given, sidecars.say(file.path), file.header.time)) for file in files])
