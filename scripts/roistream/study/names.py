"""What the names of files say in BIDS: entities, a suffix, an extension.

A name is taken apart at its underscores and nothing of it is lost: a label may hold what BIDS forbids (``task-n-back``), an
entity may be one that nobody knows. What tells one acquired run from another is all of it but the versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

ACQUISITION = {
    "subject": "sub",
    "session": "ses",
    "task": "task",
    "acquisition": "acq",
    "ceagent": "ce",
    "reconstruction": "rec",
    "direction": "dir",
    "run": "run",
}
"""The entities of BIDS that tell one acquired run from another, in the order of file names, and how file names call them."""

VERSIONS = ("echo", "part", "space", "cohort", "res", "den", "desc")
"""The entities that tell one version of a run from another."""

NO_VALUE = "none"
"""What a filter calls the absence of an entity."""

FOLDERS = ("sub", "ses")
"""Entities that folders have, too; the name of a file goes before those of its folders."""

LONG = {short: entity for entity, short in ACQUISITION.items()}


@dataclass(frozen=True)
class BidsFile:
    """A file of a dataset.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    entities : dict
        What its name says, in its order; values are text, with leading zeros. Of `ACQUISITION` by their long names, others as
        they stand; a part of the name that is no entity has an empty value.
    suffix, extension : str
        The end of its name: ``bold``, and ``.nii.gz`` in small letters.
    """

    path: Path
    entities: Mapping[str, str]
    suffix: str
    extension: str

    def value(self, entity: str) -> str:
        """Give the value of an entity, or `NO_VALUE`."""
        return self.entities.get(entity, NO_VALUE)

    @property
    def grid(self) -> tuple[str, ...]:
        """In which space and resolution it is, as far as its name tells."""
        return tuple(self.value(entity) for entity in ("space", "cohort", "res"))

    @property
    def acquisition(self) -> frozenset[tuple[str, str]]:
        """Which acquired run the file belongs to: all that its name says, but for versions; in whatever order."""
        return frozenset(
            (entity, same_value(entity, value)) for entity, value in self.entities.items() if entity not in VERSIONS
        )


def read_name(path: Path, inside: PurePath | None = None) -> BidsFile:
    """Take a name apart.

    Parameters
    ----------
    path : path
        The file.
    inside : path, optional
        Its path inside of a dataset, whose folders count as well.

    >>> read_name(Path("sub-01_task-n-back_run-2_bold.nii.gz")).entities
    {'subject': '01', 'task': 'n-back', 'run': '2'}
    """
    *parts, last = path.name.split("_")
    suffix, dot, ending = last.partition(".")
    folders = [part for part in (inside.parts[:-1] if inside else ()) if part.partition("-")[0] in FOLDERS]
    entities = {}
    for part in (*folders, *parts):
        entity, dash, label = part.partition("-")
        entities[LONG.get(entity, entity) if dash else part] = label
    return BidsFile(path, entities, suffix, (dot + ending).lower())


def same_value(entity: str, value: str) -> str:
    """Give what is common to the ways of writing a value: with the prefix or without, a number with zeros or without."""
    value = value.removeprefix(f"{ACQUISITION.get(entity, entity)}-")
    return value.lstrip("0") or "0" if entity in ("run", "echo") and value.isdecimal() else value
