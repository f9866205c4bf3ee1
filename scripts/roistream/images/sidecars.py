"""What the JSON sidecars of runs say of their TR: beside the file, or inherited as in BIDS.

A sidecar ``run.json`` belongs to ``run.nii.gz``. In a BIDS dataset ``task-rest_bold.json`` also belongs to all files with this
suffix and these entities in its folder and below it; what is nearer, and at one level more specific, comes first.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roistream.images.repetition_time import Statement, outside, possible, same

ENDING = re.compile(r"(\.nii|\.img|\.hdr)?(\.gz|\.bz2)?$", re.IGNORECASE)


class Sidecars:
    """The sidecars of many runs; each folder is listed, and each file read, once."""

    def __init__(self) -> None:
        self.names: dict[Path, list[str] | None] = {}
        self.statements: dict[Path, Statement] = {}

    def say(self, run: Path) -> Statement:
        """Give what the sidecars of a run say of its TR; where none lies beside a link, those beside the file count."""
        stem = ENDING.sub("", run.name)
        for folder in folders_of(run, stem):
            said = [statement for statement in map(self.read, self.applicable(folder, stem)) if statement]
            if said:
                return agreed(said)
        return self.say(Path(os.path.realpath(run))) if run.is_symlink() else Statement("sidecar")

    def applicable(self, folder: Path, stem: str) -> list[Path]:
        """List the sidecars in a folder that belong to a run, the most specific first."""
        if folder not in self.names:
            try:
                self.names[folder] = sorted(path.name for path in folder.iterdir() if path.suffix == ".json")
            except OSError:  # it may be one that can be entered, but not listed
                self.names[folder] = None
        names = self.names[folder]
        if names is None:
            return [folder / f"{stem}.json"]
        found = [name for name in names if belongs(name.removesuffix(".json"), stem)]
        return [folder / name for name in sorted(found, key=lambda name: -name.count("_"))]

    def read(self, path: Path) -> Statement:
        """Give what a sidecar says."""
        if path not in self.statements:
            self.statements[path] = read_sidecar(path)
        return self.statements[path]


def folders_of(run: Path, stem: str) -> Iterator[Path]:
    """List the folders that may hold sidecars of a run, its own first; the last one holds that of the subject."""
    folder = Path(os.path.abspath(run)).parent  # noqa: PTH100 (Path.resolve follows links)
    yield folder
    above = [folder, *folder.parents]
    names, subject = [each.name for each in above], stem.split("_")[0]
    if is_bids(stem) and subject in names:
        yield from above[1 : names.index(subject) + 2]


def is_bids(stem: str) -> bool:
    """Tell whether a name is one of BIDS, of entities and a suffix."""
    return re.fullmatch(r"sub-[^_]+(_[^_-]+-[^_]+)*_[^_-]+", stem) is not None


def belongs(sidecar: str, stem: str) -> bool:
    """Tell by its name whether a sidecar belongs to a run: it has no entity that the run has not, and the same suffix."""
    own, of_run = sidecar.split("_"), stem.split("_")
    return own == of_run or (is_bids(stem) and own[-1] == of_run[-1] and set(own) <= set(of_run))


def agreed(said: Sequence[Statement]) -> Statement:
    """Take the most specific of the sidecars in one folder; of several that are as specific, what they agree on."""
    first = said[0]
    for other in said[1:]:
        as_specific = other.file.count("_") == first.file.count("_")
        if as_specific and first.seconds and other.seconds and not same(first.seconds, other.seconds):
            return Statement("sidecar", None, f"says {first.seconds:g} s, {other.file} {other.seconds:g} s", first.file)
    return first


def read_sidecar(path: Path) -> Statement:
    """Read what a sidecar says; one that has neither ``RepetitionTime`` nor ``VolumeTiming`` says nothing."""
    try:
        content = parse(path.read_bytes())
    except FileNotFoundError:
        return Statement("sidecar", None, "cannot be read (a link to nothing)" if path.is_symlink() else "", path.name)
    except (OSError, ValueError, RecursionError) as error:
        return Statement("sidecar", None, f"cannot be read ({error})", path.name)
    content = content if isinstance(content, dict) else {}
    value, timing = content.get("RepetitionTime"), content.get("VolumeTiming")
    if value is not None:
        return number_says(value, path.name)
    return Statement("sidecar") if timing is None else timing_says(timing, path.name)


def parse(content: bytes) -> Any:
    """Parse JSON, also with names of patients and places in another encoding than it should have."""
    try:
        return json.loads(content)
    except UnicodeDecodeError:
        return json.loads(content.decode("latin-1"))


def number_says(value: Any, file: str) -> Statement:
    """Read ``RepetitionTime``, in seconds."""
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if math.isnan(seconds):
        return Statement("sidecar", None, f"says {str(value)[:40]!r}, which is no number of seconds", file)
    if not possible(seconds):
        return Statement("sidecar", None, f"says {seconds:g} s, {outside()}", file)
    return Statement("sidecar", seconds, "", file)


def timing_says(timing: Any, file: str) -> Statement:
    """Read ``VolumeTiming``, the time of each volume, which stands instead of a TR where volumes have different distances."""
    try:
        steps = np.diff(np.asarray(timing, float))
    except (TypeError, ValueError):
        steps = np.empty(0)
    if steps.ndim != 1 or not steps.size or not np.allclose(steps, steps[0], rtol=1e-3):
        return Statement("sidecar", None, "says by its VolumeTiming that volumes have no common TR", file)
    return number_says(round(float(np.median(steps)), 6), file)
