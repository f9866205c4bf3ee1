"""Which files of a cache have come just now, and whether the others are still what they were."""

import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from roistream.errors import UserError
from roistream.samples.cache import SUMS, check_sum, read_sums, sha256_of

TICK_S = 0.02
"""Longer than the kernel's clock of files stands still: what is written later has a later time."""


def time_there(folder: Path) -> float:
    """Tell the time as the file system of a folder does; none that comes where nothing can be written."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".roistream-") as probe:
            now = Path(probe.name).stat().st_ctime
    except OSError:
        return float("inf")
    time.sleep(TICK_S)
    return now


def new_files(roots: Iterable[Path], since: float) -> list[Path]:
    """List the files of the one dataset into which something was written since a time.

    Where there are several, somebody else is fetching, too: nothing is ours for sure, and nothing is listed.
    """
    found: dict[Path, list[Path]] = {}
    for dataset in (entry for root in roots if root.is_dir() for entry in root.iterdir() if entry.is_dir()):
        if new := [path for path in dataset.rglob("*") if is_file(path) and path.stat().st_ctime > since]:
            found[dataset] = new
    return next(iter(found.values())) if len(found) == 1 else []


def is_file(path: Path) -> bool:
    """Tell a file of a dataset from folders, links that lead nowhere, and our record of sums."""
    return path.is_file() and path.name != SUMS


def check_sums(files: Sequence[Path], roots: Sequence[Path], since: float) -> dict[str, str]:
    """Hold all files of the dataset to which some belong against their SHA-256, see `check_sum`.

    Parameters
    ----------
    files : sequence of path
        Files that a fetcher has given; there may be others beside them, such as names.
    roots : sequence of path
        The folders in which datasets lie.
    since : float
        Files that are younger are new.

    Returns
    -------
    dict
        The sums of `files` by their paths in the dataset.

    Raises
    ------
    UserError
        A file is not what it was.
    """
    parents = [root.resolve() for root in roots]
    found = {}
    for file in dict.fromkeys(path.resolve() for path in files):
        root = next((parent for parent in parents if file.is_relative_to(parent)), None)
        if root is None or len(file.relative_to(root).parts) < 2:
            continue
        dataset = root / file.relative_to(root).parts[0]
        for path in sorted(path for path in dataset.rglob("*") if is_file(path)):
            try:
                check_sum(path, dataset, path.stat().st_ctime > since)
            except ValueError as problem:
                raise UserError(f"{path} {problem}; delete this file from nilearn's cache and run again.") from problem
        name = file.relative_to(dataset).as_posix()
        found[name] = read_sums(dataset / SUMS).get(name) or sha256_of(file)
    return found
