"""Label images, and which of their labels are asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.volumes import read_volume


def read_atlas(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a label image.

    Parameters
    ----------
    path : path
        A 3D image (a trailing axis of length 1 is dropped) of whole numbers; 0 is the background, and voxels that are
        not finite belong to it.

    Returns
    -------
    labels : numpy.ndarray
        int32, 3D.
    affine : numpy.ndarray
        4 × 4, in mm.

    Raises
    ------
    UserError
        The image is unreadable, not 3D, or holds values that are no labels.
    """
    values, affine = read_volume(path)
    finite = np.where(np.isfinite(values), values, 0)
    if (finite != np.trunc(finite)).any():
        raise UserError(f"{path} holds values that are not whole numbers; give a label image, not a probability map.")
    if (finite < 0).any():
        raise UserError(f"{path} holds negative labels; number the regions from 1 up.")
    if (finite > np.iinfo(np.int32).max).any():
        raise UserError(f"{path} holds labels beyond {np.iinfo(np.int32).max}; number the regions from 1 up.")
    return finite.astype(np.int32), affine


def read_labels(path: str | Path) -> list[int]:
    """List the labels of an atlas in ascending order, without the background."""
    present = np.unique(read_atlas(path)[0])
    return [int(label) for label in present if label != 0]


def select_labels(requested: int | str | Sequence[int], available: Sequence[int], atlas: str) -> list[int]:
    """Turn the config key ``regions`` into labels.

    Parameters
    ----------
    requested : int, "all" or list of int
        The first so many labels, all of them, or these.
    available : sequence of int
        The atlas's labels, in order.
    atlas : str
        What messages call the atlas.

    Raises
    ------
    UserError
        There are no labels, more are asked for than there are, or one of them twice.
    """
    if not available:
        raise UserError(f"regions: {atlas} has no labels; check 'atlas' and 'atlas_labels'.")
    if requested == "all":
        return list(available)
    if isinstance(requested, int):
        if requested > len(available):
            raise UserError(
                f"regions: {requested} asked for, but {atlas} has {len(available)} labels; ask for at most that many."
            )
        return list(available[:requested])
    twice = sorted({label for label in requested if list(requested).count(label) > 1})
    if twice:
        raise UserError(f"regions: label {twice[0]} is listed twice; list each label once.")
    return list(requested)


def name_regions(requested: int | str | Sequence[int], available: dict[int, str], atlas: str) -> dict[int, str]:
    """Turn the config key ``regions`` into labels with names: those of `available`, else ``region-{label}``.

    Parameters and errors are those of `select_labels`, but `available` maps the atlas's labels to their names.
    """
    labels = select_labels(requested, list(available), atlas)
    return {label: available.get(label, f"region-{label}") for label in labels}
