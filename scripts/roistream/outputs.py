"""Outputs appear whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary name to write to, and rename it to `path` when the enclosed code has succeeded.

    The temporary name lies in the same folder and keeps the ending, so that writers which look at it still see
    ``.nii.gz``. It depends on `path` alone: what a killed program left is overwritten by the next, not piled up.

    Parameters
    ----------
    path : path
        The file to make. Its folder is made when it is missing.

    Yields
    ------
    pathlib.Path
        Where to write.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
