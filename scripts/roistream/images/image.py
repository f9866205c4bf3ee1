"""A 4D or 3D image on disk, known from its header alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.files import DAMAGE, files_of, open_stream
from roistream.images.header import MAX_BYTES, NiftiHeader, parse_header


@dataclass(frozen=True)
class VolumeLayout:
    """How volumes lie in a binary stream.

    Attributes
    ----------
    grid : tuple of int
        Voxels along x, y, z.
    n_volumes : int
        Volumes along time.
    raw_dtype : numpy.dtype
        Type of the stored values, with its byte order.
    offset : int
        Bytes before the first volume.
    slope, inter : float
        Stored values times `slope` plus `inter` are the values; 1 and 0 mean that they are stored as they are.
    """

    grid: tuple[int, int, int]
    n_volumes: int
    raw_dtype: np.dtype
    offset: int
    slope: float = 1.0
    inter: float = 0.0

    @property
    def n_voxels(self) -> int:
        """Voxels of one volume."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def scales(self) -> bool:
        """Whether values are others than those stored."""
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def volume_bytes(self) -> int:
        """Bytes of one stored volume."""
        return self.n_voxels * self.raw_dtype.itemsize

    @property
    def dtype(self) -> np.dtype:
        """Type of the values after scaling."""
        return self.scaled(np.zeros(1, self.raw_dtype)).dtype

    @property
    def widest(self) -> int:
        """Bytes of a value, stored or scaled, whichever is larger."""
        return max(self.raw_dtype.itemsize, self.dtype.itemsize)

    def scaled(self, raw: np.ndarray) -> np.ndarray:
        """Apply slope and intercept as nibabel does; without them the same array comes back."""
        if not self.scales:
            return raw
        from nibabel.volumeutils import apply_read_scaling

        return apply_read_scaling(raw, np.asanyarray(self.slope), np.asanyarray(self.inter))


@dataclass(frozen=True)
class Image:
    """A 4D image on disk, known from its header alone; several of them are a `roistream.images.series.Series`.

    Attributes
    ----------
    path : pathlib.Path
        The file as the user named it.
    data_path : pathlib.Path
        The file with the data: `path`, or the ``.img`` of a pair.
    layout : VolumeLayout
        How the volumes lie in `data_path`.
    header : NiftiHeader
        What else its header says.
    """

    path: Path
    data_path: Path
    layout: VolumeLayout
    header: NiftiHeader

    @property
    def grid(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        return self.layout.grid

    @property
    def n_volumes(self) -> int:
        """Volumes along time."""
        return self.layout.n_volumes

    @property
    def n_voxels(self) -> int:
        """Voxels of one volume."""
        return self.layout.n_voxels

    @property
    def dtype(self) -> np.dtype:
        """Type of the values, after scaling."""
        return self.layout.dtype

    @property
    def widest(self) -> int:
        """Bytes of a value, stored or scaled, whichever is larger."""
        return self.layout.widest

    @property
    def converts(self) -> bool:
        """Whether reading makes other values of those stored."""
        return self.layout.scales

    @property
    def is_volume(self) -> bool:
        """Whether the file is 3D; it has no TR then, and cannot be a run of its own."""
        return len(self.header.shape) < 4

    @property
    def runs(self) -> tuple[Image, ...]:
        """The files that the image consists of: this one."""
        return (self,)

    @property
    def run_lengths(self) -> list[int]:
        """Volumes of each run."""
        return [self.n_volumes]

    @property
    def affine(self) -> np.ndarray:
        """4 × 4, from voxel indices to millimetres."""
        return self.header.affine

    @property
    def t_r(self) -> float | None:
        """Repetition time in seconds; None where the header says nothing."""
        return self.header.t_r

    @property
    def mib(self) -> float:
        """Size of the raw data in MiB, as stored without compression."""
        return self.n_volumes * self.layout.volume_bytes / 2**20


def inspect(path: str | Path) -> Image:
    """Read the header of a 4D image.

    A trailing axis of length 1 (NIfTI's unused 5th to 7th dimension) is dropped.

    Parameters
    ----------
    path : path
        NIfTI-1 or -2, ``.nii`` or ``.hdr/.img``, plain, ``.gz`` or ``.bz2``.

    Returns
    -------
    Image
        Without any voxel data.

    Raises
    ------
    UserError
        The file is missing, unreadable, not 4D, or holds values that are not real numbers.

    Examples
    --------
    >>> import nibabel, numpy, tempfile
    >>> image = nibabel.Nifti1Image(numpy.ones((4, 5, 3, 8), "f4"), numpy.eye(4))
    >>> path = f"{tempfile.mkdtemp()}/run.nii.gz"
    >>> image.to_filename(path)
    >>> found = inspect(path)
    >>> found.grid, found.n_volumes, found.t_r
    ((4, 5, 3), 8, 1.0)
    """
    image, shape = describe(Path(path), 4)
    if len(shape) != 4:
        raise UserError(f"{path} is {len(shape)}D (shape {shape}), a run must be 4D; give a time series of volumes.")
    return image


def inspect_volume(path: Path) -> Image:
    """Read the header of a 3D image; otherwise as `inspect`."""
    image, shape = describe(path, 3)
    if len(shape) != 3:
        raise UserError(
            f"{path} is {len(shape)}D (shape {shape}), but a 3D image is needed here; give a single volume."
        )
    return image


def describe(path: Path, n_dimensions: int) -> tuple[Image, tuple[int, ...]]:
    """Read the header of an image; give also its shape, without axes of length 1 behind the last that is expected."""
    header_path, data_path = files_of(path)
    for file in {header_path, data_path}:
        if not file.exists():
            raise UserError(f"{file} does not exist; check the path.")
    try:
        with open_stream(header_path) as stream:
            header = parse_header(stream.read(MAX_BYTES))
    except (EOFError, ValueError, *DAMAGE) as error:
        raise UserError(f"{path} cannot be read as an image ({error}); check or replace the file.") from error
    shape = header.shape
    while len(shape) > n_dimensions and shape[-1] == 1:
        shape = shape[:-1]
    if 0 in shape:
        raise UserError(f"{path} has no voxels or no volumes (shape {shape}); give another file.")
    if not np.isfinite(header.affine).all() or np.linalg.det(header.affine) == 0:
        raise UserError(f"{path} has an affine that maps no volume (singular or not finite); repair its header.")
    grid, n_volumes = (*shape, 1, 1, 1)[:3], (*shape, 1, 1, 1, 1)[3]
    layout = VolumeLayout(grid, n_volumes, header.dtype, header.offset, header.slope, header.inter)
    return Image(path, data_path, layout, header), shape
