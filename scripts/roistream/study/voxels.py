"""Every voxel's series in one array, written while the image is read: for those who want more than one signal a region."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path

import numpy as np

from roistream.cleaning.options import Cleaning
from roistream.cleaning.signals import clean_time_series, finite_values
from roistream.images.volumes import as_float32
from roistream.memory.predict_timeseries import CLEANED_MIB
from roistream.outputs import whole_file
from roistream.regions.coverage import Region

CLEANED_BYTES = int(CLEANED_MIB * 2**20)
"""Budget of the voxels that are cleaned at a time, in the type in which they are; cleaning makes several copies of them."""

COLUMNS = 64
"""A part of a region is a multiple of so many voxels: products of matrices treat the last few columns in another way.

With that float64 comes out as if the region were cleaned as a whole. float32 does so on some processors; on others the last bit
of a value may differ, as it may between two computers for the whole region."""


class VoxelFile:
    """A ``.npy`` file, float32 ``(n_volumes, n_voxels)``, that grows volume by volume.

    Parameters
    ----------
    stream : binary file
        Open for reading and writing.
    positions : sequence of numpy.ndarray
        For each region where its voxels lie in a volume of the image's file, in the order of the columns.
    n_volumes : int
        Volumes to come.
    dtype : numpy.dtype
        In which the voxels are kept until all volumes are there: float32, or float64 where cleaning computes in it.
    """

    def __init__(self, stream: BufferedRandom, positions: Sequence[np.ndarray], n_volumes: int, dtype: np.dtype):
        self.stream, self.positions, self.dtype = stream, np.concatenate(positions), np.dtype(dtype)
        self.ends = np.cumsum([of_region.size for of_region in positions]).tolist()
        self.shape = (n_volumes, self.positions.size)
        layout = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(stream, layout)
        self.offset = stream.tell()

    def append(self, values: np.ndarray) -> None:
        """Write the next volumes, given as ``(n_volumes, voxels of a volume)``; what is not finite becomes 0."""
        picked, _ = finite_values(np.take(values, self.positions, axis=1))
        self.stream.write(as_float32(picked) if self.dtype == np.float32 else picked.astype(self.dtype, copy=False))

    def columns(self) -> Iterator[slice]:
        """Go through the columns region by region, so that none depends on what other regions are asked for.

        A large region comes in parts, none of a single voxel: numpy sums up a single column in another order.
        """
        step = max(1, CLEANED_BYTES // (self.shape[0] * self.dtype.itemsize * COLUMNS)) * COLUMNS
        first = 0
        for end in self.ends:
            while first < end:
                stop = first + step if end - first > step + 1 else end
                yield slice(first, stop)
                first = stop

    def read(self, columns: slice) -> np.ndarray:
        """Read some columns of all volumes."""
        values = np.empty((self.shape[0], columns.stop - columns.start), self.dtype)
        for volume, row in enumerate(values):
            self.seek(volume, columns.start)
            self.stream.readinto(memoryview(row).cast("B"))
        return values

    def write(self, columns: slice, values: np.ndarray) -> None:
        """Write some columns of all volumes."""
        for volume, row in enumerate(values):
            self.seek(volume, columns.start)
            self.stream.write(row)

    def seek(self, volume: int, column: int) -> None:
        """Go to where a value lies."""
        self.stream.seek(self.offset + (volume * self.shape[1] + column) * self.dtype.itemsize)


@contextmanager
def voxel_file(
    path: Path, positions: Sequence[np.ndarray], n_volumes: int, dtype: np.dtype, cleaning: Cleaning
) -> Iterator[VoxelFile]:
    """Give a file to append volumes to; when all are there its voxels are cleaned one by one, as NiftiMasker does.

    Volumes that are left out are not in what it holds in the end.

    Parameters
    ----------
    path : path
        The ``.npy`` to write.
    positions : sequence of numpy.ndarray
        See `VoxelFile`.
    n_volumes : int
        Volumes of the image.
    dtype : numpy.dtype
        Of the image's values.
    cleaning : Cleaning
        Its temporal part is applied.
    """
    with whole_file(path) as partial:
        if not cleaning.temporal and not cleaning.left_out:
            with partial.open("w+b") as stream:
                yield VoxelFile(stream, positions, n_volumes, np.dtype(np.float32))
            return
        raw = partial.with_name(f"{partial.name}.raw")
        kept = np.dtype(np.float64 if np.dtype(dtype).itemsize > 4 else np.float32)
        try:
            with raw.open("w+b") as before, partial.open("w+b") as after:
                source = VoxelFile(before, positions, n_volumes, kept)
                yield source
                n_kept = cleaning.kept_volumes(n_volumes).size
                target = VoxelFile(after, positions, n_kept, np.dtype(np.float32))
                for columns in source.columns():
                    target.write(columns, clean_time_series(source.read(columns), cleaning))
        finally:
            raw.unlink(missing_ok=True)


def write_voxel_table(
    positions: Sequence[np.ndarray],
    regions: Sequence[Region],
    grid: tuple[int, int, int],
    affine: np.ndarray,
    path: Path,
) -> None:
    """Write which column is which voxel: ``column``, ``label``, ``name``, voxel indices ``i j k`` and ``x y z`` in mm.

    Parameters
    ----------
    positions : sequence of numpy.ndarray
        For each region where its voxels lie in a volume of the file (x fastest).
    regions : sequence of Region
        In the same order.
    grid, affine
        Of the image.
    path : path
        The TSV to write.
    """
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["column", "label", "name", "i", "j", "k", "x", "y", "z"])
        column = 0
        for region, voxels in zip(regions, positions, strict=True):
            indices = np.transpose(np.unravel_index(voxels, grid, order="F"))
            places = indices @ affine[:3, :3].T + affine[:3, 3]
            for index, place in zip(indices.tolist(), places.tolist(), strict=True):
                writer.writerow([column, region.label, region.name, *index, *(f"{value:.6g}" for value in place)])
                column += 1
