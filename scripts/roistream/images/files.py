"""Which files an image consists of, and how their bytes are read from front to back."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from isal import igzip, isal_zlib

try:
    from isal.isal_zlib import _GzipReader
except ImportError:  # it is private to isal
    _GzipReader = None

COMPRESSIONS = (".gz", ".bz2")

# What the decompressors raise for damaged data, beside EOFError for data that end early.
DAMAGE = (gzip.BadGzipFile, zlib.error, isal_zlib.error, OSError)


def files_of(path: Path) -> tuple[Path, Path]:
    """Name the files that hold the header and the data of an image: twice the same, or a pair."""
    compression = path.suffix if path.suffix.lower() in COMPRESSIONS else ""
    plain = path.with_suffix("") if compression else path
    if plain.suffix.lower() not in (".hdr", ".img"):
        return path, path
    return plain.with_suffix(f".hdr{compression}"), plain.with_suffix(f".img{compression}")


@contextmanager
def open_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a file for one sequential pass, decompressing by its ending as nibabel does."""
    with path.open("rb", buffering=0) as file:
        ending = path.suffix.lower()
        if ending == ".gz" and _GzipReader is None:
            with igzip.open(file) as stream:
                yield stream
        elif ending == ".gz":
            # The reader under igzip.open: it decompresses straight into the block, without a buffer of its own between.
            yield _GzipReader(file, 2**19)
        elif ending == ".bz2":
            with bz2.open(file) as stream:
                yield stream
        else:
            yield file
