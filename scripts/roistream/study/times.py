"""The TRs of the runs of a study; see `roistream.images.repetition_time`."""

import re
from pathlib import Path

from roistream.images.image import Image
from roistream.images.repetition_time import (
    RepetitionTime,
    Statement,
    check_same,
    possible,
    said_by_somebody,
    settle,
)
from roistream.images.sidecars import Sidecars


class Times:
    """Finds the TRs of runs, and holds them against those of other runs of the same image.

    Parameters
    ----------
    t_r : float, optional
        What is said for all runs, in seconds.
    """

    def __init__(self, t_r: float | None = None) -> None:
        self.option = said_by_somebody(t_r)
        self.sidecars = Sidecars()
        self.first: dict[str, tuple[Path, RepetitionTime]] = {}

    def find(self, file: Image, t_r: float | None) -> RepetitionTime:
        """Find the TR of a run, of which the table may say `t_r`."""
        return settle(Statement("runs table", t_r), self.option, self.sidecars.say(file.path), file.header.time)

    def check(self, image: str, path: Path, time: RepetitionTime) -> None:
        """Refuse a run whose TR is another than that of the first run of its image that has one."""
        if time.seconds is not None:
            check_same(path, time, *self.first.setdefault(image, (path, time)))


def read_t_r(text: str) -> float | None:
    """Read a TR of a runs table; None where it says nothing.

    Raises
    ------
    ValueError
        It is no number of seconds that a TR can have.
    """
    if text in ("", "n/a"):
        return None
    if not re.fullmatch(r"[0-9.]+([eE][-+]?[0-9]+)?", text) or not possible(float(text)):
        raise ValueError(text)
    return float(text)
