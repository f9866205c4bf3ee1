"""Where an atlas lies whose header, or whose image's header, does not say it: refused, or guessed in so many words."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from roistream.errors import UserError
from roistream.images.image import Image

logger = logging.getLogger("roistream")


class Grid(Protocol):
    """A file of which it is known whether its header says where it lies."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def oriented(self) -> bool:
        """Whether the header says where it lies."""


def check_orientation(files: Iterable[Grid]) -> None:
    """Refuse runs, or an atlas, whose headers do not say where they lie: the atlas would be placed by a guess."""
    if silent := [str(file.path) for file in files if not file.oriented]:
        raise UserError(
            f"{len(silent)} file(s) have no orientation code (qform_code and sform_code are 0 or unknown), so the atlas "
            "could be put on the runs by a guess only; repair the headers, or set 'missing_orientation: guess':\n"
            + "\n".join(silent)
        )


def affine_of_atlas(
    atlas: Image,
    grid: tuple[int, int, int],
    affine: np.ndarray,
    image: str | Path,
    oriented: bool,
    missing_orientation: str,
) -> np.ndarray:
    """Give the affine by which an atlas is put on the grid of an image.

    Parameters
    ----------
    atlas : Image
        What the atlas's header says.
    grid, affine
        The image's.
    image : str or path
        What messages call the image.
    oriented : bool
        Whether the image's header says where it lies.
    missing_orientation : {"error", "guess"}
        What to do where one of the headers does not. The guess is that grids of the same shape are the same, voxel for voxel;
        else that a grid lies as its affine says, which `roistream.images.place` makes: its centre is the origin.

    Raises
    ------
    UserError
        It would be a guess, and must not be.
    """
    silent = [str(path) for path, says in ((image, oriented), (atlas.path, atlas.oriented)) if not says]
    if not silent:
        return atlas.affine
    if missing_orientation == "error":
        raise UserError(
            f"{' and '.join(silent)}: no orientation code (qform_code and sform_code), so the atlas {atlas.path} could be put "
            f"on {image} by a guess only; repair the header, or set 'missing_orientation: guess' (--missing-orientation guess)."
        )
    if atlas.grid == tuple(grid):
        logger.warning(
            "%s: no orientation code; %s and %s have the same shape and are taken for the same grid, voxel for voxel.",
            *(" and ".join(silent), atlas.path, image),
        )
        return affine
    logger.warning(
        "%s: no orientation code; its centre is taken for the origin, and %s is put on %s by this guess.",
        *(" and ".join(silent), atlas.path, image),
    )
    return atlas.affine


def check_orientation_of_image(atlas: Path, image: str | Path, oriented: bool, missing_orientation: str) -> None:
    """Refuse an image whose header does not say where it lies, or tell that it is guessed, where an atlas is given in mm."""
    if oriented:
        return
    if missing_orientation == "error":
        raise UserError(
            f"{image}: no orientation code (qform_code and sform_code), so the places of {atlas} could be found in it by a guess "
            "only; repair the header, or set 'missing_orientation: guess' (--missing-orientation guess)."
        )
    logger.warning(
        "%s: no orientation code; its centre is taken for the origin, and %s is placed by this guess.", image, atlas
    )
