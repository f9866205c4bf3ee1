"""What a NIfTI header says about the data behind it.

Only what reading needs, at the offsets of the standards nifti1.h and nifti2.h. nibabel knows all of it, but importing it takes
about a tenth of the time of a whole extraction; it is asked for all writing. The
property tests of tests/unit/test_volumes.py hold this against nibabel.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from roistream.images.files import SIZES_OF_HEADERS, content
from roistream.images.place import find_place
from roistream.images.repetition_time import Statement, header_says

if TYPE_CHECKING:
    from nibabel import Nifti1Header

DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
"""NIfTI's codes of the types that are real numbers of at most 8 bytes."""

MAX_BYTES = 540
"""Length of the longer header, NIfTI-2's."""


@dataclass(frozen=True)
class Version:
    """Where a version of the standard puts what: offsets in bytes and formats of `struct`."""

    n_bytes: int
    magic: int
    dim: tuple[int, str]
    datatype: int
    pixdim: tuple[int, str]
    offset: tuple[int, str]
    scaling: tuple[int, str]
    codes: tuple[int, str]
    quaternion: tuple[int, str]
    sform: tuple[int, str]
    units: tuple[int, str]


NIFTI1 = Version(
    348, 344, (40, "8h"), 70, (76, "8f"), (108, "f"), (112, "2f"), (252, "2h"), (256, "6f"), (280, "12f"), (123, "B")
)
NIFTI2 = Version(
    540, 4, (16, "8q"), 12, (104, "8d"), (168, "q"), (176, "2d"), (344, "2i"), (352, "6d"), (400, "12d"), (500, "i")
)
MAGIC = {b"n+1": (NIFTI1, True), b"ni1": (NIFTI1, False), b"n+2": (NIFTI2, True), b"ni2": (NIFTI2, False)}


@dataclass(frozen=True)
class NiftiHeader:
    """A parsed header.

    Attributes
    ----------
    start : bytes
        The header as it stands in the file.
    shape : tuple of int
        As stored, from one to seven axes.
    dtype : numpy.dtype
        Type of the stored values, with its byte order.
    offset : int
        Bytes before the data.
    slope, inter : float
        Stored values times `slope` plus `inter` are the values.
    affine : numpy.ndarray
        4 × 4, in mm.
    oriented : bool
        Whether the header says where the image lies; else the affine is a guess.
    remarks : tuple of str
        What is odd about its place.
    time : Statement
        What it says of the repetition time.
    """

    start: bytes
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    slope: float
    inter: float
    affine: np.ndarray
    oriented: bool
    remarks: tuple[str, ...]
    time: Statement


@lru_cache(maxsize=8)
def parse_header(start: bytes) -> NiftiHeader:
    """Parse the first bytes of a file; the masks of one atlas have the same, and share what is returned.

    Parameters
    ----------
    start : bytes
        `MAX_BYTES` of them, or the whole file.

    Raises
    ------
    ValueError
        They are no NIfTI header, or one that cannot be followed.
    """
    magic = find_magic(start)
    version, single = MAGIC[magic]
    start = start[: version.n_bytes]
    order = "<" if struct.unpack_from("<i", start)[0] == version.n_bytes else ">"

    def read(position: int, kind: str) -> tuple:
        return struct.unpack_from(order + kind, start, position)

    dim, pixdim = read(*version.dim), read(*version.pixdim)
    if read(0, "i")[0] != version.n_bytes or not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 0:
        raise ValueError(
            f"its header is damaged: it says the shape {dim[1 : max(1, min(dim[0], 7)) + 1]} of {dim[0]} axes"
        )
    [datatype] = read(version.datatype, "h")
    if datatype not in DTYPES:
        raise ValueError(f"its data type, code {datatype}, is none of the integers, float32 or float64; convert it")
    [offset] = read(*version.offset)
    if not np.isfinite(offset) or offset < (version.n_bytes + 4 if single else 0):
        raise ValueError(f"its data are said to begin inside the header or nowhere, at byte {offset:g}")
    slope, inter = read(*version.scaling)
    if slope == 0 or not np.isfinite(slope):  # the standard's way to say that there is no scaling
        slope, inter = 1.0, 0.0
    if not np.isfinite(inter):
        raise ValueError(f"its intercept is {inter}")
    shape = tuple(int(n) for n in dim[1 : dim[0] + 1])
    place = find_place(
        shape,
        read(*version.codes),
        pixdim,
        read(*version.quaternion),
        read(*version.sform),
        double=version is NIFTI2,
    )
    [units] = read(*version.units)
    return NiftiHeader(
        start,
        shape,
        np.dtype(f"{order}{DTYPES[datatype]}"),
        int(offset),
        slope,
        inter,
        place.affine,
        place.oriented,
        (*place.remarks, *odd_lengths(units)),
        header_says(dim[0], pixdim[4], units),
    )


def odd_lengths(units: int) -> list[str]:
    """Word that ``xyzt_units`` has lengths in another unit than mm; nothing where it says none, which is frequent."""
    unit = {0: "", 1: "metres", 2: "", 3: "micrometres"}.get(units & 7, f"the unit {units & 7}, which is none")
    return [f"its header says lengths in {unit}; they are taken as mm, as by nibabel"] if unit else []


def find_magic(start: bytes) -> bytes:
    """Tell by its magic number which version of NIfTI a file is, and whether it is a single file or one of a pair."""
    for magic, (version, _) in MAGIC.items():
        if start[version.magic : version.magic + 3] == magic and len(start) >= version.n_bytes:
            return magic
    kind = content(start)
    if start[:4] in SIZES_OF_HEADERS:
        kind = "the beginning of one" if len(start) < 348 else "something like it, as of Analyze 7.5; convert it"
    raise ValueError(f"it is not NIfTI, it is {kind}")


def as_nibabel(start: bytes) -> "Nifti1Header":
    """Parse a header with nibabel, which can also change and write it.

    Returns
    -------
    nibabel.Nifti1Header
        Or a subclass: of NIfTI-2, of a pair.
    """
    from nibabel import nifti1, nifti2

    kinds = {
        b"n+1": nifti1.Nifti1Header,
        b"ni1": nifti1.Nifti1PairHeader,
        b"n+2": nifti2.Nifti2Header,
        b"ni2": nifti2.Nifti2PairHeader,
    }
    return kinds[find_magic(start)](start)
