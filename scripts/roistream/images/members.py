"""Read compressed files member by member, patiently: every byte before the trouble comes out, and what the trouble is.

A .gz or .bz2 may have several members, one after the other, which are one stream. What follows the last and begins no other is
no part of it: it is counted, not read. `GzipStream` leaves sound files to isal, which is twice as fast, but loses what it had in
hand where it meets the end too early, a wrong check sum or bytes behind the end.
"""

import bz2
import io
import os
import struct
import zlib
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO

from isal import isal_zlib

_GzipReader: Any = getattr(isal_zlib, "_GzipReader", None)
"""It is private to isal, which may do without."""

_IsalError: Any = isal_zlib.error
"""Its types say that it is no class."""

GZIP, BZIP2 = b"\x1f\x8b", b"BZh"
"""How members begin."""

PIECE_BYTES = 2**16
"""Bytes that a decompressor is given at a time, and at most gives back."""

FLAG_CHECK, FLAG_EXTRA, FLAG_NAME, FLAG_COMMENT = 2, 4, 8, 16

Pieces = Generator[bytes, None, int]
"""What a file holds, piece by piece; then the number of bytes that follow its last member."""


class DamagedStreamError(Exception):
    """Compressed data are not sound; what the system says of a file that it cannot read remains an OSError."""


class MemberStream(io.RawIOBase):
    """The decompressed bytes of a file.

    Parameters
    ----------
    pieces : generator
        From `gunzip` or `bunzip`.

    Attributes
    ----------
    trailing : int
        Bytes that follow the last member, known at the end.
    """

    def __init__(self, pieces: Pieces):
        super().__init__()
        self.trailing = 0
        self._pieces, self._left = pieces, memoryview(b"")

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, target: Any) -> int:
        """Read as much as there is at once, at least one byte, unless the stream has ended."""
        while not self._left:
            try:
                self._left = memoryview(next(self._pieces))
            except StopIteration as end:
                self.trailing = end.value or self.trailing
                return 0
        n_bytes = min(len(target), len(self._left))
        target[:n_bytes], self._left = self._left[:n_bytes], self._left[n_bytes:]
        return n_bytes


class GzipStream(io.RawIOBase):
    """The decompressed bytes of a .gz; otherwise as `MemberStream`.

    Parameters
    ----------
    file : binary file
        Unbuffered, at its beginning.
    """

    def __init__(self, file: io.RawIOBase):
        super().__init__()
        self.trailing, self._file, self._position = 0, file, 0
        # The reader under igzip.open: it decompresses straight into the block, without a buffer of its own between.
        self._reader: Any = _GzipReader(file, 2**19) if _GzipReader else None
        self._patient: MemberStream | None = None if _GzipReader else MemberStream(gunzip(file))

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, target: Any) -> int:
        """See `MemberStream.readinto`."""
        if self._patient is None:
            try:
                n_bytes = self._reader.readinto(target)
            except (EOFError, OSError, zlib.error, _IsalError) as error:
                if getattr(error, "errno", None) is not None:
                    raise
                self._patient = self._go_back()
            else:
                self._position += n_bytes
                return n_bytes
        n_bytes = self._patient.readinto(target)
        self.trailing = self._patient.trailing
        return n_bytes

    def _go_back(self) -> MemberStream:
        """Begin anew, and go to where the reader has got."""
        self._file.seek(0)
        stream, left = MemberStream(gunzip(self._file)), self._position
        scratch = memoryview(bytearray(PIECE_BYTES))
        while left and (n_bytes := stream.readinto(scratch[:left])):
            left -= n_bytes
        return stream


def gunzip(file: io.RawIOBase) -> Pieces:
    """Decompress a .gz with zlib.

    Raises
    ------
    EOFError
        The file ends inside of a member.
    DamagedStreamError
        The data cannot be decompressed, or are not those that were compressed.
    """
    source = io.BufferedReader(file, PIECE_BYTES)
    try:
        while True:
            skip_header(source)
            yield from inflate(source)
            rest = b"\0"
            while rest and not rest.strip(b"\0"):  # padding
                rest = source.read(PIECE_BYTES)
            source.seek(-len(rest.lstrip(b"\0")), os.SEEK_CUR)
            if not rest.lstrip(b"\0").startswith(GZIP):
                return os.fstat(file.fileno()).st_size - source.tell()
    finally:
        if not source.closed:
            source.detach()  # or it would close the file, which is not its own


def inflate(source: BinaryIO) -> Iterator[bytes]:
    """Decompress the data of a member, and compare them with its check sum and length."""
    member, check, size = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0
    while not member.eof:
        given = member.unconsumed_tail or source.read(PIECE_BYTES)
        try:
            piece = member.decompress(given, PIECE_BYTES) if given else member.flush()
        except zlib.error as error:
            raise DamagedStreamError(str(error)) from error
        check, size = zlib.crc32(piece, check), size + len(piece)
        yield piece
        if not given and not member.eof:
            raise EOFError
    source.seek(-len(member.unused_data), os.SEEK_CUR)
    if struct.unpack("<2I", read_exactly(source, 8)) != (check, size % 2**32):
        raise DamagedStreamError("its check sum is another one")


def skip_header(source: BinaryIO) -> None:
    """Read past the header of a member."""
    start = read_exactly(source, 10)
    if start[:3] != GZIP + b"\x08":
        raise DamagedStreamError("its header is none of gzip")
    flags = start[3]
    if flags & FLAG_EXTRA:
        read_exactly(source, struct.unpack("<H", read_exactly(source, 2))[0])
    for flag in (FLAG_NAME, FLAG_COMMENT):
        while flags & flag and read_exactly(source, 1) != b"\0":
            pass
    if flags & FLAG_CHECK:
        read_exactly(source, 2)


def read_exactly(source: BinaryIO, n_bytes: int) -> bytes:
    """Read so many bytes."""
    content = source.read(n_bytes)
    if len(content) < n_bytes:
        raise EOFError
    return content


def bunzip(file: io.RawIOBase) -> Pieces:
    """Decompress a .bz2; errors are those of `gunzip`."""
    rest = file.read(PIECE_BYTES)
    while rest.startswith(BZIP2):
        member = bz2.BZ2Decompressor()
        while not member.eof:
            if member.needs_input:
                given, rest = rest or file.read(PIECE_BYTES), b""
                if not given:
                    raise EOFError
            else:
                given = b""
            try:
                piece = member.decompress(given, PIECE_BYTES)
            except OSError as error:
                raise DamagedStreamError(str(error)) from error
            yield piece
        rest = member.unused_data + file.read(PIECE_BYTES)
    return len(rest) + os.fstat(file.fileno()).st_size - file.tell()
