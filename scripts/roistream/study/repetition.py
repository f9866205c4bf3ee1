"""What is listed twice in a study: noticed by what a file is, not by one of its names.

A run is its data: two runs whose headers are one file, as a store that knows files by their content makes of equal ones, are
two. A table of confounds belongs to one run; several versions of that run (spaces, echoes) may share it.
"""

import logging
import os
from collections.abc import Hashable, Sequence
from pathlib import Path

from roistream.images.files import files_of
from roistream.paths import identity
from roistream.study.names import read_name

logger = logging.getLogger("roistream")


class Listed:
    """The runs and tables of confounds of the lines so far.

    Parameters
    ----------
    by_content : bool
        Look at the files; else only at their names.
    """

    def __init__(self, by_content: bool = True):
        self.identity = identity if by_content else os.path.abspath
        self.runs: dict[tuple[str, Hashable], int] = {}
        self.tables: dict[tuple[str, Hashable], tuple[int, int]] = {}
        self.users: dict[Hashable, dict[Hashable, tuple[int, Path]]] = {}
        self.last: dict[str, tuple[int, bool]] = {}

    def run(self, line: int, image: str, path: Path) -> str:
        """Add a run; word that its image has it already, or nothing."""
        before = self.runs.setdefault((image, self.identity(files_of(path)[1])), line)
        return f"{path} is already a run of {image!r}, in line {before}" if before != line else ""

    def confounds(self, line: int, image: str, run: Path, table: Path | None, is_volume: bool) -> list[str]:
        """Add the table of a run; word that it is that of another run of the image.

        Volumes of an image that follow each other are one run, of which each may name the table.
        """
        number, after_volume = self.last.get(image, (0, False))
        number += not (is_volume and after_volume)
        self.last[image] = (number, is_volume)
        if table is None:
            return []
        file = self.identity(table)
        self.users.setdefault(file, {}).setdefault(self.identity(files_of(run)[1]), (line, run))
        first_line, first_number = self.tables.setdefault((image, file), (line, number))
        if first_number == number:
            return []
        return [
            f"the confounds {table} are those of another run of {image!r} already, in line {first_line}; give the table of "
            "this run, or a copy if both have the same"
        ]

    def tell_shared_confounds(self, path: Path) -> None:
        """Tell, once, that different runs of different images name one table."""
        shared = []
        for users in self.users.values():
            acquired = {acquisition_of(run): (line, run) for line, run in reversed(users.values())}
            if len(acquired) > 1:
                shared.append(sorted(acquired.values())[:2])
        if shared:
            (line, run), (other_line, other_run) = shared[0]
            logger.warning(
                "The runs table %s: %d table(s) of confounds stand beside runs that are not the same, first %s (line %d) and %s "
                "(line %d); check that each run has its own.",
                *(path, len(shared), run, line, other_run, other_line),
            )


def acquisition_of(run: Path) -> Hashable:
    """Tell which acquired run a file is, as far as its name tells."""
    name = read_name(run)
    return name.acquisition, name.suffix


def tell_repetition(runs: Sequence[str | Path], confounds: Sequence[str | Path] = ()) -> None:
    """Tell of runs or tables of confounds of which one is given twice to a program; whoever calls it may mean it."""
    given: list[tuple[str, str | Path, str | Path]] = [("run", files_of(Path(path))[1], path) for path in runs]
    given += [("table of confounds", path, path) for path in confounds]
    first: dict[Hashable, str | Path] = {}
    for kind, file, path in given:
        before = first.get(identity(file))
        if before is not None:
            logger.warning("The %s %s is given twice, before as %s; give each once, or its copies.", kind, path, before)
        first.setdefault(identity(file), path)
