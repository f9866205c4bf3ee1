"""A 4D or 3D image on disk, known from its header alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.files import COMPRESSION_OF_STREAM, compression_of, files_of, open_stream, size_of, unreadable
from roistream.images.header import MAX_BYTES, NiftiHeader, parse_header
from roistream.images.layout import VolumeLayout, check_surplus, truncated
from roistream.images.members import DamagedStreamError

logger = logging.getLogger("roistream")

MOST_TIMES = {"": 1, "gz": 1032, "bz2": 1_500_000}
"""By how much a compression can make a file smaller at most."""


@dataclass(frozen=True)
class Image:
    """A 4D image on disk, known from its header alone; several of them are a `roistream.images.series.Series`.

    Attributes
    ----------
    path : pathlib.Path
        The file as the user named it.
    data_path : pathlib.Path
        The file with the data: `path`, or the ``.img`` of a pair.
    compression : str
        Of `data_path`: ``gz``, ``bz2`` or empty.
    layout : VolumeLayout
        How the volumes lie in `data_path`.
    header : NiftiHeader
        What else its header says.
    """

    path: Path
    data_path: Path
    compression: str
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
    def oriented(self) -> bool:
        """Whether the header says where the image lies; else the affine is a guess."""
        return self.header.oriented

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on what is odd about the header."""
        return tuple(f"{self.path}: {remark}" for remark in self.header.remarks)

    @property
    def t_r(self) -> float | None:
        """Repetition time in seconds as the header says it; see `roistream.images.repetition_time` for other sources."""
        return self.header.time.seconds

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
    >>> from roistream import inspect
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
    try:
        with open_stream(header_path) as stream:
            header = parse_header(read_start(stream))
            compression = COMPRESSION_OF_STREAM.get(type(stream), "")
        if data_path != header_path:
            compression = compression_of(data_path)
    except OSError as error:
        raise unreadable(header_path, error) from error
    except (EOFError, ValueError, DamagedStreamError) as error:
        reason = str(error) or "its compressed data end too early"
        raise UserError(f"{path} cannot be read as an image: {reason}; check or replace the file.") from error
    shape = header.shape
    while len(shape) > n_dimensions and shape[-1] == 1:
        shape = shape[:-1]
    if 0 in shape:
        raise UserError(f"{path} has no voxels or no volumes (shape {shape}); give another file.")
    if not maps_volumes(header.affine):
        raise UserError(f"{path} has an affine that maps no volume (singular or not finite); repair its header.")
    n_x, n_y, n_z = (*shape, 1, 1, 1)[:3]
    n_volumes = math.prod(shape[3:])
    layout = VolumeLayout((n_x, n_y, n_z), n_volumes, header.dtype, header.offset, header.slope, header.inter)
    check_size(path, data_path, compression, layout)
    return Image(path, data_path, compression, layout, header), shape


def maps_volumes(affine: np.ndarray) -> bool:
    """Tell whether an affine maps voxels to places: it is finite, no axis is lost, and no step is beyond all measure."""
    if not np.isfinite(affine).all() or np.abs(affine).max() > 1e9:
        return False
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(steps.min() > 1e-9 and np.linalg.det(affine[:3, :3] / steps) != 0)


def read_start(stream: RawIOBase) -> bytes:
    """Read what a header may have of bytes, or as many as there are."""
    start = b""
    while len(start) < MAX_BYTES and (piece := stream.read(MAX_BYTES - len(start))):
        start += piece
    return start


def check_size(path: Path, data_path: Path, compression: str, layout: VolumeLayout) -> None:
    """Refuse a file that cannot hold what its header says, before anything is made for it, or that holds more volumes.

    Of a compressed file that is only known for sure when all of it has been read.
    """
    n_bytes = size_of(data_path)
    if layout.end > n_bytes * MOST_TIMES[compression]:
        try:
            with data_path.open("rb") as file:  # what is not on a disk may have another size than it says
                file.seek(n_bytes)
                longer = file.read(1)
        except OSError as error:
            raise unreadable(data_path, error) from error
        if not longer:
            reached = max(0, n_bytes - layout.offset) // layout.volume_bytes if not compression else 0
            claim = f"its header claims {layout.end / 2**30:.4g} GiB, the file has {n_bytes:,} bytes"
            raise truncated(str(path), layout, reached, claim)
    elif not compression:
        check_surplus(n_bytes - layout.end, str(path), layout)


def tell(remarks: Sequence[str]) -> None:
    """Put what is odd about images into the log."""
    for remark in remarks:
        logger.warning("%s.", remark)
