"""Where a NIfTI header puts an image: one reading of its two transforms and their codes, which is nibabel's.

The sform is used if its code says what it is, else the qform, else a guess: the centre is the origin, and the first axis runs
from right to left. A code that the standard does not know counts as none. What is odd is put into words, for a log and a table.
"""

from dataclasses import dataclass

import numpy as np

from roistream.images.grids import SAME_GRID, corner_distance

KNOWN_CODES = range(6)
"""Unknown, scanner, aligned, Talairach, MNI, other template."""

ROUNDED = 4e-7
"""How far rounding to float32 may put the square of a quaternion off."""

TOO_LONG = 2e-3
"""How far rounding to few digits may."""


@dataclass(frozen=True)
class Place:
    """Where an image lies.

    Attributes
    ----------
    affine : numpy.ndarray
        4 × 4, in mm.
    oriented : bool
        Whether the header says so; else it is a guess.
    remarks : tuple of str
        What is odd.
    """

    affine: np.ndarray
    oriented: bool
    remarks: tuple[str, ...]


def find_place(
    shape: tuple[int, ...],
    codes: tuple[int, int],
    pixdim: tuple[float, ...],
    quaternion: tuple[float, ...],
    sform: tuple[float, ...],
    double: bool = False,
) -> Place:
    """Find where an image lies.

    Parameters
    ----------
    shape : tuple of int
        As stored.
    codes : tuple of int
        Of qform and sform.
    pixdim : tuple of float
        The orientation of the third axis, then the steps along the axes.
    quaternion : tuple of float
        Its last three components, and the offset in mm.
    sform : tuple of float
        12 numbers, row by row.
    double : bool
        Whether these are float64, as in NIfTI-2, and not float32.

    Raises
    ------
    ValueError
        The quaternion is needed, and is no rotation.
    """
    remarks = [
        f"{kind}_code {code} is none that the standard knows and counts as 0"
        for kind, code in zip(("qform", "sform"), codes, strict=True)
        if code not in KNOWN_CODES
    ]
    has_qform, has_sform = (code in KNOWN_CODES and code != 0 for code in codes)
    steps = np.abs(np.array(pixdim[1:4], np.float64))
    steps[steps == 0] = 1
    if not has_sform and not has_qform:
        remarks.append(
            "has no orientation code (qform_code and sform_code): where it lies and which side is left is a guess"
        )
        return Place(guess(shape, steps), False, tuple(remarks))
    affine = np.vstack([np.reshape(sform, (3, 4)), [0, 0, 0, 1]])
    if has_qform:
        try:
            rotation, doubt, rounded = rotate(np.array(quaternion[:3]), double)
        except ValueError as error:
            if not has_sform:
                raise
            remarks.append(f"its qform cannot be followed ({error}); the sform is used")
        else:
            by_qform = np.eye(4)
            by_qform[:3, :3] = rotation * (steps * (1, 1, pixdim[0] if pixdim[0] in (-1, 1) else 1))
            by_qform[:3, 3] = quaternion[3:]
            if rounded:
                remarks.append("its quaternion is longer than 1 by rounding and is taken as half a turn")
            if not has_sform:
                return Place(by_qform, True, tuple(remarks))
            remarks += compare(shape, affine, by_qform, steps, doubt)
    return Place(affine, True, tuple(remarks))


def rotate(vector: np.ndarray, double: bool) -> tuple[np.ndarray, float, bool]:
    """Turn the last three components of a quaternion into a rotation.

    Returns
    -------
    rotation : numpy.ndarray
        3 × 3.
    doubt : float
        By how much rounding to float32 may turn it, in radians: much more near half a turn than else.
    rounded : bool
        Whether the quaternion is longer than 1 by more than nibabel forgives.
    """
    forgiven = 3 * np.finfo(np.float64 if double else np.float32).eps
    square = 1 - vector @ vector
    if not square >= -TOO_LONG:
        raise ValueError(f"its quaternion {tuple(map(float, vector))} is no rotation")
    w = 0.0 if square < forgiven else np.sqrt(square)
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    length = w * w + vector @ vector
    rotation = np.eye(3) + 2 / length * (w * cross + cross @ cross) if length > np.finfo(np.float64).eps else np.eye(3)
    return rotation, 2 * ROUNDED / max(w, np.sqrt(ROUNDED)), bool(square <= -forgiven)


def compare(
    shape: tuple[int, ...], by_sform: np.ndarray, by_qform: np.ndarray, steps: np.ndarray, doubt: float
) -> list[str]:
    """Word by how much qform and sform differ, if by more than rounding."""
    grid = (*shape, 1, 1)[:3]
    if not np.isfinite([by_sform, by_qform]).all() or np.linalg.det(by_sform) == 0:
        return ["its qform and its sform contradict each other; the sform is used"]
    apart = corner_distance(grid, by_sform, by_qform)
    if apart <= SAME_GRID + doubt * np.linalg.norm(grid * steps) / steps.min():
        return []
    return [f"its qform and its sform put a corner {apart:.3g} voxels apart; the sform is used"]


def guess(shape: tuple[int, ...], steps: np.ndarray) -> np.ndarray:
    """Make the affine of a header that says nothing of it."""
    steps = np.where(np.arange(3) < len(shape), steps, 1)
    affine = np.diag([*(steps * (-1, 1, 1)), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array((*shape, 1, 1)[:3]) - 1) / 2)
    return affine
