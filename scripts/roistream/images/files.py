"""Which files an image consists of, and how their bytes are read from front to back.

A path is a path: nothing in it is a pattern, a home folder or a variable. How a file is compressed is told by its ending, in
letters of any case; the content must agree. A name without one of these endings tells nothing, there the content decides.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path

from roistream.errors import UserError
from roistream.images.members import BZIP2, GZIP, GzipStream, MemberStream, bunzip
from roistream.paths import check_file, why_unreadable

COMPRESSIONS = {"gz": GZIP, "bz2": BZIP2}
"""Compressions that are read, and how such files begin."""

COMPRESSION_OF_STREAM: dict[type, str] = {GzipStream: "gz", MemberStream: "bz2"}
"""Which streams `open_stream` gives."""

PROMISED = {".nii": "", ".hdr": "", ".img": "", ".gz": "gz", ".bz2": "bz2"}
"""What an ending says of the compression."""

PAIR = {".hdr": ".img", ".img": ".hdr"}

START_BYTES = 264
"""As many bytes tell what a file is."""

CONTENTS = (
    (b"\x1f\x8b", "compressed with gzip"),
    (b"BZh", "compressed with bzip2"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd, which is not read here"),
    (b"\xfd7zXZ", "compressed with xz, which is not read here"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x89HDF", "HDF5, as of MINC 2"),
    (b"CDF", "NetCDF, as of MINC 1"),
    (b"NRRD", "NRRD"),
)
"""What else files begin with that are taken for images."""

SIZES_OF_HEADERS = {size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}


def files_of(path: Path) -> tuple[Path, Path]:
    """Name the files that hold the header and the data of an image: twice the same, or a pair."""
    compression = path.suffix if PROMISED.get(path.suffix.lower()) else ""
    plain = path.with_suffix("") if compression else path
    if plain.suffix.lower() not in PAIR:
        return path, path
    other = partner(plain, compression)
    return (path, other) if plain.suffix.lower() == ".hdr" else (other, path)


def partner(plain: Path, compression: str) -> Path:
    """Find the other file of a pair, in whatever letters its ending is written; at best in those of the first."""
    given, ending = plain.suffix, PAIR[plain.suffix.lower()]
    same = ending.upper() if given.isupper() else ending.title() if given[1].isupper() else ending
    spellings = dict.fromkeys((same, ending, ending.upper(), ending.title()))
    candidates = [plain.with_suffix(f"{spelling}{compression}") for spelling in spellings]
    return next((file for file in candidates if os.path.lexists(file)), candidates[0])


def called(path: Path) -> str:
    """Give what messages call a file: its path, and what it is a link to."""
    return f"{path} (a link to {os.path.realpath(path)})" if path.is_symlink() else str(path)


def size_of(path: Path) -> int:
    """Look at a file, see `roistream.paths.check_file`; give its size in bytes."""
    check_file(path)
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error


@contextmanager
def open_stream(path: Path) -> Iterator[RawIOBase]:
    """Open a file for one sequential pass, decompressed.

    Raises
    ------
    UserError
        It cannot be opened, or its content contradicts its ending.
    """
    size_of(path)  # to open a pipe would be to wait for ever
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise unreadable(path, error) from error
    with file:
        try:
            compression = compression_in(path, file.read(START_BYTES))
            file.seek(0)
        except OSError as error:
            raise unreadable(path, error) from error
        if compression == "gz":
            yield GzipStream(file)
        elif compression == "bz2":
            yield MemberStream(bunzip(file))
        else:
            yield file


def compression_of(path: Path) -> str:
    """Look how a file is compressed: ``gz``, ``bz2`` or not at all; errors are those of `open_stream`."""
    size_of(path)
    try:
        with path.open("rb", buffering=0) as file:
            return compression_in(path, file.read(START_BYTES))
    except OSError as error:
        raise unreadable(path, error) from error


def compression_in(path: Path, start: bytes) -> str:
    """Tell from the first bytes how a file is compressed, and refuse one that its ending contradicts."""
    found = next((name for name, magic in COMPRESSIONS.items() if start.startswith(magic)), "")
    ending = path.suffix.lower()
    promised = PROMISED.get(ending, found)
    if ending == ".img":  # bare numbers, which may be any bytes
        return ""
    if found != promised:
        raise UserError(
            f"{path} cannot be read as an image: its name ends in {path.suffix}, but it is {content(start)}; "
            "rename it after its content, or replace the file."
        )
    return found


def content(start: bytes) -> str:
    """Say what the content of a file is, after its first bytes."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    known = next((name for beginning, name in CONTENTS if start.startswith(beginning)), None)
    if not start:
        return "empty"
    if known:
        return known
    if text[:5].lower() in (b"<!doc", b"<html", b"<?xml", b"<head"):
        return "a web page or XML, perhaps what a server has answered instead of the file"
    if start[:4] in SIZES_OF_HEADERS:
        return "an image without compression"
    if start[128:132] == b"DICM":
        return "DICOM"
    if text and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in text):
        return f"text ({text[:30].decode('ascii').split(chr(10))[0].strip()!r})"
    return "something else"


def unreadable(path: Path | str, error: OSError) -> UserError:
    """Word the system's error for a file, given by its path or by what messages call it."""
    if error.errno == errno.ENOMEM:
        raise error
    return UserError(why_unreadable(Path(path), error))
