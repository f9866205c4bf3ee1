"""In which space atlas and runs are, as far as their names say, and whether these are the same.

Nothing is registered, so that an atlas in another space takes its signals from the wrong places, and nothing else would tell.
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from roistream.images.repetition_time import name_files
from roistream.study.names import read_name

logger = logging.getLogger("roistream")

FAMILIES = ("MNI", "MNI152")
"""Names that several templates share, which differ by millimetres: they contradict none."""


@dataclass(frozen=True)
class Space:
    """A space: a template, or the subject's own; and its cohort, if it has such."""

    name: str
    cohort: str = ""

    def contradicts(self, other: "Space") -> bool:
        """Tell whether two are different spaces for sure."""
        return self.name != other.name or bool(self.cohort and other.cohort and self.cohort != other.cohort)

    def __str__(self) -> str:
        return f"{self.name}_cohort-{self.cohort}" if self.cohort else self.name


def space_of_name(name: str) -> Space | None:
    """Read the space from a file name or an image's name: ``space-`` or else ``tpl-``, and ``cohort-``; None if it says none.

    >>> print(space_of_name("tpl-MNI152NLin6Asym_res-01_atlas-AAL_dseg.nii.gz"))
    MNI152NLin6Asym
    """
    entities = read_name(Path(name)).entities
    return make_space(entities.get("space") or entities.get("tpl") or "", entities.get("cohort", ""))


def space_of_template(template: object) -> Space | None:
    """Read the space from what a sidecar calls the template of an atlas; nilearn's ``MNI?`` is none."""
    found = re.fullmatch(r"([A-Za-z0-9]+)(?:_cohort-([A-Za-z0-9]+))?", str(template or ""))
    return make_space(found[1], found[2] or "") if found else None


def make_space(name: str, cohort: str) -> Space | None:
    """Make a space of its names; None where they do not say which."""
    return Space(name, cohort) if name and name not in FAMILIES else None


def contradiction(atlas: Space | None, run: Path, image: str) -> str | None:
    """Word that a run is in another space than the atlas, if its name, or that of its image, says so."""
    found = space_of_name(run.name) or space_of_name(f"{image.removesuffix('_bold')}_bold")
    if atlas is None or found is None or not atlas.contradicts(found):
        return None
    return f"the atlas is in the space {atlas}, the run in {found}, as they say; nothing is registered"


def tell_spaces(atlas: Space | None, runs: Iterable[tuple[Path, str]]) -> None:
    """Tell which runs are in another space than the atlas: paths, with the names of their images."""
    wrong: dict[str, list[Path]] = {}
    for run, image in runs:
        if text := contradiction(atlas, run, image):
            wrong.setdefault(text, []).append(run)
    for text, files in wrong.items():
        logger.warning(
            "%s: %s. Regions will lie elsewhere; take an atlas in the space of the runs.", name_files(files), text
        )
