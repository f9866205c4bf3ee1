"""Write images piece by piece; they appear under their names when they are complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from roistream.images.header import as_nibabel
from roistream.images.image import Image
from roistream.outputs import whole_file

if TYPE_CHECKING:
    from isal.igzip import IGzipFile
    from nibabel import Nifti1Header


QUATERNION = ("quatern_b", "quatern_c", "quatern_d")
"""The components of a rotation that a header has."""


def write_image(path: str | Path, header: Nifti1Header, pieces: Iterable[np.ndarray]) -> None:
    """Write a NIfTI image piece by piece; it appears under its name when it is complete.

    Parameters
    ----------
    path : path
        ``.nii`` or ``.nii.gz``; the latter at isal's level 1, and the same bytes for the same content.
    header : nibabel.Nifti1Header or nibabel.Nifti2Header
        With shape, dtype, affine and scaling of the data to come, see `new_header`.
    pieces : iterable of numpy.ndarray
        The stored values, in the header's dtype and in the order of the file (x fastest), in pieces of any shape whose
        C-order memory is that order, as `Block.values` are.

    Raises
    ------
    ValueError
        The pieces are of another type, more or fewer than the header says.

    Examples
    --------
    >>> import nibabel, numpy, tempfile
    >>> from roistream import write_image
    >>> path = f"{tempfile.mkdtemp()}/mask.nii.gz"
    >>> header = nibabel.Nifti1Image(numpy.zeros((4, 5, 3), numpy.uint8), numpy.eye(4)).header
    >>> write_image(path, header, [numpy.ones(60, numpy.uint8)])
    >>> nibabel.load(path).shape
    (4, 5, 3)
    """
    header = header.copy()
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    dtype = header.get_data_dtype()
    expected = int(np.prod(header.get_data_shape(), dtype=np.int64)) * dtype.itemsize
    written = 0
    with whole_file(path) as partial, partial.open("wb") as plain, compressed(plain, Path(path)) as stream:
        stream.write(header.binaryblock)
        stream.write(b"\0" * (header.single_vox_offset - len(header.binaryblock)))
        for piece in pieces:
            if piece.dtype != dtype:
                raise ValueError(f"a piece of {piece.dtype} for an image of {dtype}")
            stream.write(memoryview(np.ascontiguousarray(piece)).cast("B"))
            written += piece.nbytes
        if written != expected:
            raise ValueError(f"{written} bytes of data for a header that says {expected}")


@contextmanager
def compressed(plain: BinaryIO, path: Path) -> Iterator[BinaryIO | IGzipFile]:
    """Compress what is written, if the ending of `path` says so; no name or time in the stream, for equal bytes."""
    if path.suffix != ".gz":
        yield plain
        return
    from isal import igzip  # brings the gzip module along

    with igzip.IGzipFile(filename="", mode="wb", compresslevel=1, fileobj=plain, mtime=0) as stream:
        yield stream


def new_header(
    grid: tuple[int, ...], dtype: np.dtype | type, affine: np.ndarray, t_r: float | None = None, version: int = 1
) -> Nifti1Header:
    """Make a header for `write_image`: millimetres, seconds, no scaling.

    Parameters
    ----------
    grid : tuple of int
        Shape of the image, 3D or 4D. NIfTI-1 cannot count beyond 32,767 along an axis; then it is NIfTI-2.
    dtype : numpy.dtype
        Stored type; little-endian on disk.
    affine : numpy.ndarray
        4 × 4, in mm.
    t_r : float, optional
        Repetition time in seconds.
    version : {1, 2}
        Of the standard, at least: the second keeps affine and scaling in float64.
    """
    from nibabel import Nifti1Header, Nifti2Header, affines

    kind = Nifti1Header if version == 1 and max(grid) <= np.iinfo(np.int16).max else Nifti2Header
    header = kind(endianness="<")
    header.set_data_shape(grid)
    header.set_data_dtype(np.dtype(dtype))
    header.set_sform(affine, code="aligned")
    header.set_qform(affine, code="aligned")
    header.set_zooms((*affines.voxel_sizes(affine), t_r or 0.0)[: len(grid)])
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(1, 0)
    return header


def header_like(image: Image, n_volumes: int, dtype: np.dtype, slope: float = 1.0, inter: float = 0.0) -> Nifti1Header:
    """Make a header for `write_image` with the geometry, codes, TR and units of an image, but other data.

    Parameters
    ----------
    image : Image
        The model.
    n_volumes : int
        Length of the image to come.
    dtype : numpy.dtype
        Stored type of the image to come.
    slope, inter : float
        Its scaling.
    """
    model = as_nibabel(image.header.start)
    version = 2 if int(model["sizeof_hdr"]) == 540 else 1
    header = new_header((*image.grid, n_volumes), dtype, image.affine, image.t_r, version)
    about_the_data = {
        "sizeof_hdr",
        "magic",
        "dim",
        "datatype",
        "bitpix",
        "vox_offset",
        "scl_slope",
        "scl_inter",
        "regular",
    }
    for field in set(header.keys()) & set(model.keys()) - about_the_data:
        header[field] = model[field]
    header.set_slope_inter(slope, inter)
    # A quaternion that is longer than 1, by rounding, is one that nibabel does not read.
    vector = np.array([float(header[field]) for field in QUATERNION])
    if (length := np.linalg.norm(vector)) > 1:
        for field, value in zip(QUATERNION, vector / length, strict=True):
            header[field] = value
    return header
