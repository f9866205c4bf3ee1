"""Read 4D images, or series of them, block by block, in flat memory.

The contract, which tests/unit/test_volumes.py checks against nibabel:

- `inspect` reads only the header; `read_blocks` then goes through the data once, from front to back, and needs nothing
  but a forward-only binary stream. Values, dtype and scaling are those of ``np.asarray(nibabel.load(path).dataobj)``, to
  the last bit, for NIfTI-1 and -2, single files and header/image pairs, plain or compressed, either byte order.
- A buffer is bounded by a budget in bytes, not by a number of volumes: a block holds many small volumes, or one volume,
  or a part of one large volume.
- A series of files is read like one, without a copy of it; see `roistream.images.series` for its values.
- A file that ends early or is damaged raises a `UserError` that names the file, the volumes expected and those reached; so
  does one that goes on for whole volumes. An error of the system is told as such.
- The check sums of a compressed file are verified before the last block has been followed by the end of the iteration.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from io import RawIOBase
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.files import called, open_stream, unreadable
from roistream.images.image import Image
from roistream.images.layout import VolumeLayout, damaged, tell_surplus, truncated
from roistream.images.members import DamagedStreamError
from roistream.images.series import Series

BLOCK_BYTES = 4 * 2**20
"""Default budget of one block of raw data: three volumes of ADHD's size; more gains hardly any time."""

STEP_BYTES = 2**22
"""Bytes asked of a stream at a time."""


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


def read_blocks(image: Image | Series, max_bytes: int = BLOCK_BYTES, whole_volumes: bool = False) -> Iterator[Block]:
    """Go through an image once, from the first volume to the last.

    Parameters
    ----------
    image : Image or Series
        From `inspect`, or from `roistream.images.series.open_series`.
    max_bytes : int
        Budget of the values of one block, stored or scaled, whichever is larger. Two buffers for each may exist: the next
        block is read by a thread while this one is worked on.
    whole_volumes : bool
        Never split a volume, also when a single one exceeds the budget.

    Yields
    ------
    Block
        In order, without gaps; of the type ``image.dtype``. No block has volumes of two files.

    Raises
    ------
    UserError
        A file ends early or is damaged, or its values do not fit into the series' type.

    Examples
    --------
    The mean of every voxel over time:

    >>> import nibabel, numpy, tempfile
    >>> from roistream import inspect, read_blocks
    >>> image = nibabel.Nifti1Image(numpy.ones((4, 5, 3, 8), "f4"), numpy.eye(4))
    >>> path = f"{tempfile.mkdtemp()}/run.nii.gz"
    >>> image.to_filename(path)
    >>> found = inspect(path)
    >>> total = sum(block.values.sum(axis=0) for block in read_blocks(found, whole_volumes=True))
    >>> (total / found.n_volumes).reshape(found.grid, order="F").shape
    (4, 5, 3)
    """
    size = image.n_volumes * image.n_voxels * image.widest
    with closing(blocks_of_runs(image, max_bytes, whole_volumes)) as blocks:
        yield from blocks if size <= max_bytes else read_ahead(blocks)


def blocks_of_runs(image: Image | Series, max_bytes: int, whole_volumes: bool) -> Generator[Block]:
    """Go through the files one after the other, all with the same buffers; see `read_blocks`."""
    first_volume = 0
    buffers = make_buffers([run.layout for run in image.runs], max_bytes, whole_volumes)
    for run in image.runs:
        with open_stream(run.data_path) as stream:
            for block in stream_blocks(stream, run.layout, called(run.path), max_bytes, whole_volumes, buffers):
                values = as_type(block.values, image.dtype, run.path)
                yield Block(first_volume + block.first_volume, block.first_voxel, values)
        first_volume += run.n_volumes


def read_ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """Let a thread read the next block while the last one is worked on; decompressors do not hold Python's lock."""
    with ThreadPoolExecutor(1) as reader:
        # The next but one is ordered before the next is there: the reader goes on at once, and need not wait for us.
        upcoming = [reader.submit(next, blocks, None), reader.submit(next, blocks, None)]
        while (block := upcoming.pop(0).result()) is not None:
            yield block
            upcoming.append(reader.submit(next, blocks, None))


def read_stored(image: Image | Series, max_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """Go through an image like `read_blocks`, but give the values as they are stored, without scaling; little-endian."""
    unscaled = [replace(run, layout=replace(run.layout, slope=1.0, inter=0.0)) for run in image.runs]
    for block in read_blocks(Series(tuple(unscaled)), max_bytes):
        yield replace(block, values=block.values.astype(block.values.dtype.newbyteorder("<"), copy=False))


def as_type(values: np.ndarray, dtype: np.dtype, name: str | Path) -> np.ndarray:
    """Give values the type of the series that they belong to: another byte order, or rounded to float32."""
    if values.dtype == dtype:
        return values
    return as_float32(values, name) if dtype == np.float32 else values.astype(dtype)


def as_float32(values: np.ndarray, name: str | Path = "The image") -> np.ndarray:
    """Round to float32, in native byte order and C order.

    Parameters
    ----------
    values : numpy.ndarray
        Of any real type.
    name : str or path
        What the message calls their origin.

    Raises
    ------
    UserError
        A value is beyond float32's range; it would become infinite.
    """
    try:
        with np.errstate(over="raise"):
            return np.ascontiguousarray(values, np.float32)
    except FloatingPointError:
        raise UserError(f"{name} holds values beyond the range of float32 (3.4e38); rescale it.") from None


def make_buffers(layouts: Sequence[VolumeLayout], max_bytes: int, whole_volumes: bool) -> Iterator[np.ndarray]:
    """Make what blocks of files are read into by turns: bytes, as many as the largest block has."""
    shapes = [block_shape(layout, max_bytes, whole_volumes) for layout in layouts]
    sizes = [math.prod(shape) * layout.raw_dtype.itemsize for shape, layout in zip(shapes, layouts, strict=True)]
    single = len(layouts) == 1 and shapes[0] == (layouts[0].n_volumes, layouts[0].n_voxels)
    aligned = -(-max(sizes) // 64) * 64
    return itertools.cycle(np.empty((1 if single else 2, aligned), np.uint8))


def block_shape(layout: VolumeLayout, max_bytes: int, whole_volumes: bool) -> tuple[int, int]:
    """Tell how many volumes and how many voxels of each a block has at most."""
    n_values = max(1, max_bytes // layout.widest)
    n_volumes = min(max(1, n_values // layout.n_voxels), layout.n_volumes)
    return n_volumes, layout.n_voxels if whole_volumes else min(n_values, layout.n_voxels)


def stream_blocks(
    stream: RawIOBase,
    layout: VolumeLayout,
    name: str,
    max_bytes: int = BLOCK_BYTES,
    whole_volumes: bool = False,
    buffers: Iterator[np.ndarray] | None = None,
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
    buffers : iterator, optional
        From `make_buffers`, where other streams are read into them as well.
    """
    per_block, voxels = block_shape(layout, max_bytes, whole_volumes)
    buffers = buffers or make_buffers([layout], max_bytes, whole_volumes)
    skip(stream, layout.offset, name, layout)
    for first_volume in range(0, layout.n_volumes, per_block):
        n_volumes = min(per_block, layout.n_volumes - first_volume)
        for first_voxel in range(0, layout.n_voxels, voxels):
            n_voxels = min(voxels, layout.n_voxels - first_voxel)
            raw = next(buffers)[: n_volumes * n_voxels * layout.raw_dtype.itemsize].view(layout.raw_dtype)
            filled = fill(stream, memoryview(raw).cast("B"), name, layout, first_volume)
            if filled < raw.nbytes:
                raise truncated(name, layout, first_volume + filled // layout.volume_bytes)
            yield Block(first_volume, first_voxel, layout.scaled(raw.reshape(n_volumes, n_voxels)))
    drain(stream, name, layout)


def skip(stream: RawIOBase, n_bytes: int, name: str, layout: VolumeLayout) -> None:
    """Read past the header and its extensions."""
    scratch = memoryview(bytearray(min(n_bytes, 2**20)))
    while n_bytes > 0:
        n_read = fill(stream, scratch[: min(n_bytes, len(scratch))], name, layout, 0)
        if n_read == 0:
            raise truncated(name, layout, 0)
        n_bytes -= n_read


def fill(stream: RawIOBase, target: memoryview, name: str, layout: VolumeLayout, volume: int) -> int:
    """Read until `target` is full or the stream ends; return the number of bytes."""
    filled = 0
    try:
        while filled < len(target):
            n_read = stream.readinto(target[filled : filled + STEP_BYTES])
            if not n_read:
                break
            filled += n_read
    except EOFError:
        pass  # a compressed stream that was cut off: the same as a plain one that is too short
    except DamagedStreamError as error:
        raise damaged(name, layout, volume + filled // layout.volume_bytes, error) from error
    except OSError as error:
        raise unreadable(name, error) from error
    return filled


def drain(stream: RawIOBase, name: str, layout: VolumeLayout) -> None:
    """Read to the end, where a compressed file has its check sum; tell what is there beyond the last volume."""
    n_bytes = 0
    try:
        while piece := stream.read(STEP_BYTES):
            n_bytes += len(piece)
    except EOFError as error:
        raise truncated(name, layout, layout.n_volumes) from error
    except DamagedStreamError as error:
        raise damaged(name, layout, layout.n_volumes, error) from error
    except OSError as error:
        raise unreadable(name, error) from error
    tell_surplus(n_bytes, name, layout, getattr(stream, "trailing", 0))
