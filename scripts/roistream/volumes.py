"""Read and write 4D images block by block, in flat memory.

The contract, which tests/unit/test_volumes.py checks against nibabel:

- `inspect` reads only the header; `read_blocks` then goes through the data once, from front to back, and needs nothing
  but a forward-only binary stream. Values, dtype and scaling are those of ``np.asarray(nibabel.load(path).dataobj)``, to
  the last bit, for NIfTI-1 and -2, single files and header/image pairs, plain or compressed, either byte order.
- A buffer is bounded by a budget in bytes, not by a number of volumes: a block holds many small volumes, or one volume,
  or a part of one large volume.
- A file that ends early or is damaged raises a `UserError` that names the file, the volumes expected and those reached.
  The check sums of a compressed file are verified before the last block has been followed by the end of the iteration.
"""

from __future__ import annotations

import bz2
import gzip
import itertools
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from isal import igzip, isal_zlib
from isal.isal_zlib import _GzipReader

from roistream.errors import UserError
from roistream.nifti import MAX_BYTES, NiftiHeader, as_nibabel, parse_header
from roistream.outputs import whole_file

if TYPE_CHECKING:
    from nibabel import Nifti1Header

BLOCK_BYTES = 4 * 2**20
"""Default budget of one block of raw data: three volumes of ADHD's size; more gains hardly any time."""

STEP_BYTES = 2**18
"""Bytes asked of a stream at a time: how exactly the volume reached is known when a compressed file breaks off."""

COMPRESSIONS = (".gz", ".bz2")

# What the decompressors raise for damaged data, beside EOFError for data that end early.
DAMAGE = (gzip.BadGzipFile, zlib.error, isal_zlib.error, OSError)


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
        if (self.slope, self.inter) == (1.0, 0.0):
            return raw
        from nibabel.volumeutils import apply_read_scaling

        return apply_read_scaling(raw, np.asanyarray(self.slope), np.asanyarray(self.inter))


@dataclass(frozen=True)
class Image:
    """A 4D image on disk, known from its header alone.

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


@dataclass(frozen=True)
class Block:
    """A piece of an image: whole volumes, or a run of voxels of a single one.

    Attributes
    ----------
    first_volume, first_voxel : int
        Where the piece begins; voxels are counted in the order of the file (x fastest, Fortran order).
    values : numpy.ndarray
        ``(n_volumes, n_voxels)`` of this piece. Valid until the next block is asked for: its buffer is then used again.
    """

    first_volume: int
    first_voxel: int
    values: np.ndarray


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
    """
    image, shape = describe(Path(path), 4)
    if len(shape) != 4:
        raise UserError(f"{path} is {len(shape)}D (shape {shape}), a run must be 4D; give a time series of volumes.")
    return image


def read_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a 3D image, such as a mask or an atlas.

    Parameters
    ----------
    path : path
        As for `inspect`; trailing axes of length 1 are dropped.

    Returns
    -------
    values : numpy.ndarray
        3D, Fortran order, of the type that nibabel gives.
    affine : numpy.ndarray
        4 × 4, in mm.

    Raises
    ------
    UserError
        The file is missing, unreadable, damaged or not 3D.
    """
    image = inspect_volume(Path(path))
    [block] = read_blocks(image, whole_volumes=True)
    return block.values.reshape(image.grid, order="F"), image.affine


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


def files_of(path: Path) -> tuple[Path, Path]:
    """Name the files that hold the header and the data of an image: twice the same, or a pair."""
    compression = path.suffix if path.suffix.lower() in COMPRESSIONS else ""
    plain = path.with_suffix("") if compression else path
    if plain.suffix.lower() not in (".hdr", ".img"):
        return path, path
    return plain.with_suffix(f".hdr{compression}"), plain.with_suffix(f".img{compression}")


def read_blocks(image: Image, max_bytes: int = BLOCK_BYTES, whole_volumes: bool = False) -> Iterator[Block]:
    """Go through an image once, from the first volume to the last.

    Parameters
    ----------
    image : Image
        From `inspect`.
    max_bytes : int
        Budget of the values of one block, stored or scaled, whichever is larger. Two buffers for each may exist: the next
        block is read by a thread while this one is worked on.
    whole_volumes : bool
        Never split a volume, also when a single one exceeds the budget.

    Yields
    ------
    Block
        In order, without gaps.

    Raises
    ------
    UserError
        The file ends early or is damaged.
    """
    size = image.layout.n_volumes * image.layout.n_voxels * image.layout.widest
    with open_stream(image.data_path) as stream:
        blocks = stream_blocks(stream, image.layout, str(image.path), max_bytes, whole_volumes)
        yield from blocks if size <= max_bytes else read_ahead(blocks)


def read_ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """Let a thread read the next block while the last one is worked on; decompressors do not hold Python's lock."""
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(next, blocks, None)
        while (block := upcoming.result()) is not None:
            upcoming = reader.submit(next, blocks, None)
            yield block


def read_stored(image: Image, max_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Go through an image like `read_blocks`, but give the values as they are stored, without scaling; little-endian."""
    unscaled = replace(image, layout=replace(image.layout, slope=1.0, inter=0.0))
    for block in read_blocks(unscaled, max_bytes):
        yield replace(block, values=block.values.astype(block.values.dtype.newbyteorder("<"), copy=False))


def stream_blocks(
    stream: BinaryIO, layout: VolumeLayout, name: str, max_bytes: int = BLOCK_BYTES, whole_volumes: bool = False
) -> Iterator[Block]:
    """Go through the volumes of a forward-only binary stream; see `read_blocks`.

    Parameters
    ----------
    stream : binary file
        Needs ``readinto`` and ``read`` only; stands at byte 0 of the file, before the header.
    layout : VolumeLayout
        What to expect.
    name : str
        How errors call the stream.
    max_bytes, whole_volumes
        As in `read_blocks`.
    """
    values_per_block = max(1, max_bytes // layout.widest)
    per_block = max(1, values_per_block // layout.n_voxels)
    voxels = layout.n_voxels if whole_volumes else min(values_per_block, layout.n_voxels)
    n_buffers = 1 if per_block >= layout.n_volumes and voxels == layout.n_voxels else 2
    buffers = itertools.cycle(np.empty((n_buffers, min(per_block, layout.n_volumes) * voxels), layout.raw_dtype))
    skip(stream, layout.offset, name, layout)
    for first_volume in range(0, layout.n_volumes, per_block):
        n_volumes = min(per_block, layout.n_volumes - first_volume)
        for first_voxel in range(0, layout.n_voxels, voxels):
            n_voxels = min(voxels, layout.n_voxels - first_voxel)
            raw = next(buffers)[: n_volumes * n_voxels]
            filled = fill(stream, memoryview(raw).cast("B"), name, layout, first_volume)
            if filled < raw.nbytes:
                raise truncated(name, layout, first_volume + filled // layout.volume_bytes)
            yield Block(first_volume, first_voxel, layout.scaled(raw.reshape(n_volumes, n_voxels)))
    drain(stream, name, layout)


def skip(stream: BinaryIO, n_bytes: int, name: str, layout: VolumeLayout) -> None:
    """Read past the header and its extensions."""
    scratch = memoryview(bytearray(min(n_bytes, 2**20)))
    while n_bytes > 0:
        n_read = fill(stream, scratch[: min(n_bytes, len(scratch))], name, layout, 0)
        if n_read == 0:
            raise truncated(name, layout, 0)
        n_bytes -= n_read


def fill(stream: BinaryIO, target: memoryview, name: str, layout: VolumeLayout, volume: int) -> int:
    """Read until `target` is full or the stream ends; return the number of bytes."""
    filled = 0
    try:
        while filled < len(target):
            # In small steps: a decompressor that meets the end too early throws away what it had for this step.
            n_read = stream.readinto(target[filled : filled + STEP_BYTES])
            if not n_read:
                break
            filled += n_read
    except EOFError:
        pass  # a compressed stream that was cut off: the same as a plain one that is too short
    except DAMAGE as error:
        raise damaged(name, layout, volume + filled // layout.volume_bytes, error) from error
    return filled


def drain(stream: BinaryIO, name: str, layout: VolumeLayout) -> None:
    """Read to the end, where a compressed file has its check sum."""
    try:
        while stream.read(STEP_BYTES):
            pass
    except EOFError as error:
        raise truncated(name, layout, layout.n_volumes) from error
    except DAMAGE as error:
        raise damaged(name, layout, layout.n_volumes, error) from error


def truncated(name: str, layout: VolumeLayout, reached: int) -> UserError:
    """Word the error for a file that ends early."""
    return UserError(
        f"{name} ends early: {layout.n_volumes} volumes expected, {reached} complete; "
        "the file was cut off, copy or download it again."
    )


def damaged(name: str, layout: VolumeLayout, reached: int, error: Exception) -> UserError:
    """Word the error for a file whose compressed data are not sound."""
    return UserError(
        f"{name} is damaged ({error}): {layout.n_volumes} volumes expected, {reached} read before the damage showed; "
        "copy or download it again."
    )


@contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a file for one sequential pass, decompressing by its ending as nibabel does."""
    with path.open("rb", buffering=0) as file:
        ending = path.suffix.lower()
        if ending == ".gz":
            # The reader under igzip.open: it decompresses straight into the block, without a buffer of its own between.
            yield _GzipReader(file, 2**19)
        elif ending == ".bz2":
            with bz2.open(file) as stream:
                yield stream
        else:
            yield file


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
def compressed(plain: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """Compress what is written, if the ending of `path` says so; no name or time in the stream, for equal bytes."""
    if path.suffix != ".gz":
        yield plain
        return
    with igzip.IGzipFile(filename="", mode="wb", compresslevel=1, fileobj=plain, mtime=0) as stream:
        yield stream


def new_header(
    grid: tuple[int, ...], dtype: np.dtype | type, affine: np.ndarray, t_r: float | None = None
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
    """
    from nibabel import Nifti1Header, Nifti2Header, affines

    kind = Nifti1Header if max(grid) <= np.iinfo(np.int16).max else Nifti2Header
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
    header = new_header((*image.grid, n_volumes), dtype, image.affine, image.t_r)
    model = as_nibabel(image.header.start)
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
    return header
