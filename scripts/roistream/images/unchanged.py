"""Files that change or vanish while they are read: what was read of them is no image that ever was."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from roistream.errors import UserError

Piece = TypeVar("Piece")


class Unchanged:
    """Remembers what files are, and says so when they are it no longer.

    As a context it asks, when the enclosed code has failed, whether that is the reason.

    Parameters
    ----------
    paths : iterable of path
        The files; one that is not there is for its reader to tell.
    """

    def __init__(self, paths: Iterable[Path]):
        self.before = {Path(path): state_of(Path(path)) for path in paths}

    def check(self) -> None:
        """Raise a `UserError` that names the first file which has changed or vanished."""
        for path, before in self.before.items():
            now = state_of(path)
            if before is not None and now is None:
                raise UserError(f"{path} vanished while it was read; put it back, and run again.")
            if now != before:
                raise UserError(f"{path} was changed while it was read; wait until it is complete, and run again.")

    def during(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Pass on what is read of the files, piece by piece, and check them in the end."""
        with self:
            yield from pieces
        self.check()

    def __enter__(self) -> "Unchanged":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if isinstance(error, Exception):
            self.check()


def state_of(path: Path) -> tuple[int, int, int] | None:
    """Give what changes with a file's content: which file it is, its size, when it was last written; None without a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
