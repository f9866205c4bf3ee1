"""Label images, and which of their labels are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.images.image import Image, describe
from roistream.images.layout import VolumeLayout
from roistream.images.volumes import read_blocks

LEAST_OFF = 1e-3
"""How far a label may be off a whole number in any case: it may have been scaled by who has written it as it is."""

MOST_OFF = 0.25
"""How far a scale factor may put a label off a whole number; beyond it one label could be taken for another."""


@dataclass(frozen=True)
class LabelImage:
    """A label image.

    Attributes
    ----------
    labels : numpy.ndarray
        int32, 3D.
    header : Image
        What its header says.
    remarks : tuple of str
        Sentences on what is odd about it.
    """

    labels: np.ndarray
    header: Image
    remarks: tuple[str, ...]


def read_label_image(path: str | Path) -> LabelImage:
    """Read a label image.

    Parameters
    ----------
    path : path
        A 3D image (a trailing axis of length 1 is dropped) of whole numbers; 0 is the background, and voxels that are
        not finite belong to it. Numbers that the rounding of a scale factor has put off are rounded.

    Raises
    ------
    UserError
        The image is unreadable, not 3D, or holds values that are no labels.
    """
    header, shape = describe(Path(path), 3)
    if len(shape) != 3:
        raise UserError(
            f"{path} is {len(shape)}D (shape {shape}), a label image is 3D; split several atlases into files. Maps of "
            "probability are for the target timeseries (extract_timeseries.py) and for NiftiMapsMasker."
        )
    [block] = read_blocks(header, whole_volumes=True)
    values, remarks = block.values.reshape(header.grid, order="F"), list(header.remarks)
    if values.dtype.kind == "f":
        if n_not_finite := values.size - int(np.count_nonzero(np.isfinite(values))):
            remarks.append(not_finite_remark(n_not_finite, path))
            values = np.where(np.isfinite(values), values, 0)
        whole = np.rint(values)
        fractions = values[values != whole]
        off = np.abs(fractions - np.rint(fractions))
        # A scale factor is itself rounded to float32, which puts large labels off further.
        allowed = max(LEAST_OFF, tolerance_of(header.layout)) + 1e-7 * np.abs(fractions)
        if (off > np.minimum(allowed, MOST_OFF)).any():
            raise UserError(
                f"{path} holds values that are not whole numbers; give a label image, not a probability map (up to "
                f"{off.max():.3g} off): cut it at a threshold, or put several maps into a 4D image."
            )
        if off.size:
            remarks.append(
                f"{path}: {off.size} voxels are off whole numbers by at most {off.max():.2g}, by rounding; they are rounded"
            )
        values = whole
    if (values < 0).any():
        raise UserError(f"{path} holds negative labels; number the regions from 1 up.")
    if (values > np.iinfo(np.int32).max).any():
        raise UserError(f"{path} holds labels beyond {np.iinfo(np.int32).max}; number the regions from 1 up.")
    return LabelImage(values.astype(np.int32), header, tuple(remarks))


def tolerance_of(layout: VolumeLayout) -> float:
    """Tell how far scaled values may be off those that were meant: half a step of the stored integers."""
    return 0.505 * abs(layout.slope) if layout.scales and layout.raw_dtype.kind in "iu" else 0.0


def not_finite_remark(n_voxels: int, path: str | Path) -> str:
    """Word that voxels are NaN or infinite."""
    return f"{path}: {n_voxels} voxels are not finite and count as background"


def read_atlas(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the labels of a label image and its affine, see `read_label_image`."""
    found = read_label_image(path)
    return found.labels, found.header.affine


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
    assert not isinstance(requested, str)
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
