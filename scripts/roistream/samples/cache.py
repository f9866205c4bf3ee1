"""nilearn's cache, kept sound: one run at a time fetches into it, and what was fetched is known again by its SHA-256."""

import fcntl
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roistream.outputs import whole_file
from roistream.paths import reading

logger = logging.getLogger("roistream")

SUMS = "SHA256SUMS"
"""The file beside the data of a dataset in which their check sums stand; ``sha256sum --check SHA256SUMS`` reads it, too."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let the enclosed code be the only one of this project that fetches into a folder; wait for another one to end.

    nilearn's temporary folders have the same names in all processes, and one of them would remove what another is filling. The
    lock is the system's: it is gone with its holder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # nilearn tells what is wrong with it
        yield
        return
    try:
        lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def lock(descriptor: int, folder: Path) -> None:
    """Lock a folder, where its file system has locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.info("Another run is fetching into %s; waiting for it.", folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        logger.info("%s cannot be locked (%s); let no other run fetch into it meanwhile.", folder, error.strerror)


def check_sum(path: Path, folder: Path, fetched_now: bool) -> None:
    """Hold a file against its SHA-256 of the time when it was fetched, or first seen; record it where there is none.

    Parameters
    ----------
    path : path
        A file below `folder`.
    folder : path
        The dataset's folder in the cache; one that cannot be written keeps no record.
    fetched_now : bool
        Whether the file is new: what was recorded of an earlier one does not count.

    Raises
    ------
    ValueError
        The file is another one.
    """
    name, found = os.path.relpath(path.absolute(), folder.absolute()), sha256_of(path)
    known = read_sums(folder / SUMS)
    if known.get(name) == found:
        return
    if name in known and not fetched_now:
        raise ValueError(f"is not what was fetched: its SHA-256 is not that in {folder / SUMS}")
    if not os.access(folder, os.W_OK):
        return
    with whole_file(folder / SUMS) as partial:
        lines = [f"{digest}  {file}\n" for file, digest in sorted({**known, name: found}.items())]
        partial.write_text("".join(lines), encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Digest the content of a file."""
    with reading(path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_sums(path: Path) -> dict[str, str]:
    """Read check sums by name; lines that are none are passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found = (re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line) for line in lines)
    return {match[2]: match[1] for match in found if match}
