"""Outputs appear whole or not at all, and what is outdated goes."""

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roistream.errors import UserError
from roistream.faults import FULL

logger = logging.getLogger("roistream")


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
        with naming(path):
            yield partial
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put a path into an error of the system which says that a disk is full, but not which."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = str(path)
        raise


def as_json(content: Any) -> str:
    """Word content as JSON in UTF-8; bytes of file names that are none, as of older systems, are escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def check_writable(folders: Iterable[str | Path]) -> None:
    """Refuse folders that are there, but cannot be written, before hours of computing.

    Raises
    ------
    UserError
        Names the first such folder.
    """
    for folder in map(Path, folders):
        if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise UserError(
                f"{folder.absolute()} cannot be written (read-only, of another user, or no folder); work in another folder "
                "(--directory), or make it writable."
            )


def files_of_labels(folder: Path, ending: str) -> set[Path]:
    """List the files ``region-<label><ending>`` of a folder, which are this project's own."""
    return {
        path for path in folder.glob(f"region-*{ending}") if re.fullmatch(rf"region-\d+{re.escape(ending)}", path.name)
    }


def remove_files(outdated: Iterable[Path]) -> None:
    """Remove files that were made with another configuration and would pass for results of this one."""
    for path in sorted(outdated):
        path.unlink(missing_ok=True)
        logger.info("Removed %s, which belongs to another configuration.", path)
