"""Tables of confounds with the columns of fMRIPrep's, for simulated runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roistream.outputs import whole_file

MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")

HEAD_RADIUS = 50.0
"""In mm: what a rotation moves is taken at the surface of a sphere (Power et al. 2012)."""

SLOWEST = 128.0
"""Seconds: cosines down to this period, SPM's high-pass filter."""

MOST_DISPLACED, MOST_CHANGED = 0.5, 1.5
"""Framewise displacement in mm, and standardised DVARS, beyond which fMRIPrep marks a volume as an outlier."""

COMPONENTS = {"a_comp_cor": "combined", "c_comp_cor": "CSF", "w_comp_cor": "WM"}
"""The masks of anatomical CompCor, by the names of the columns."""

N_COMPONENTS = 5
N_AROMA = 3


def make_confounds(
    rng: np.random.Generator,
    motion: np.ndarray,
    tissues: Mapping[str, np.ndarray],
    n_unsteady: int,
    t_r: float,
    with_aroma: bool = False,
) -> dict[str, np.ndarray]:
    """Make the columns of a table.

    Parameters
    ----------
    rng : numpy.random.Generator
        For what nothing tells: the components.
    motion : numpy.ndarray
        ``(n_volumes, 6)``: translations in mm, rotations in radians, see `MOTION`.
    tissues : mapping
        ``global_signal``, ``csf`` and ``white_matter``, each ``(n_volumes,)``.
    n_unsteady : int
        Volumes before the steady state.
    t_r : float
        Repetition time in seconds.
    with_aroma : bool
        Add columns of ICA-AROMA.

    Returns
    -------
    dict of numpy.ndarray
        float64, each ``(n_volumes,)``; NaN where there is no volume before.
    """
    n_volumes = len(motion)
    columns: dict[str, np.ndarray] = {}
    for name in ("csf", "white_matter", "global_signal"):
        columns |= expand(name, tissues[name])
    changes = difference(tissues["global_signal"])
    columns["dvars"] = np.abs(changes)
    # The true ones follow from the whole image; these have the same place among the others: about 1, more at jumps.
    columns["std_dvars"] = np.sqrt(0.8 + (changes / (2 * np.nanmedian(np.abs(changes)) + 10)) ** 2)
    moved = np.array([difference(column) for column in motion.T])
    columns["framewise_displacement"] = np.abs(moved[:3]).sum(axis=0) + HEAD_RADIUS * np.abs(moved[3:]).sum(axis=0)
    for prefix in (*COMPONENTS, "t_comp_cor"):
        components = rng.standard_normal((n_volumes, N_COMPONENTS)) + np.stack([*tissues.values()], 1) @ (
            rng.normal(0, 0.05, (len(tissues), N_COMPONENTS))
        )
        components -= components.mean(axis=0)
        components[:n_unsteady] = 0
        columns |= numbered(f"{prefix}_", components / np.linalg.norm(components, axis=0))
    columns |= numbered("cosine", cosines(n_volumes, n_unsteady, t_r))
    columns |= numbered("non_steady_state_outlier", np.eye(n_volumes)[:, :n_unsteady])
    for name, column in zip(MOTION, motion.T, strict=True):
        columns |= expand(name, column)
    outliers = (columns["framewise_displacement"] > MOST_DISPLACED) | (columns["std_dvars"] > MOST_CHANGED)
    columns |= numbered("motion_outlier", np.eye(n_volumes)[:, outliers])
    if with_aroma:
        columns |= numbered("aroma_motion_", rng.standard_normal((n_volumes, N_AROMA)).cumsum(axis=0))
    return columns


def difference(column: np.ndarray) -> np.ndarray:
    """Subtract from each value the one before; NaN for the first."""
    return np.concatenate([[np.nan], np.diff(column)])


def expand(name: str, column: np.ndarray) -> dict[str, np.ndarray]:
    """Give a column with its derivative and the squares of both, as fMRIPrep calls them."""
    derivative = difference(column)
    return {
        name: column,
        f"{name}_derivative1": derivative,
        f"{name}_derivative1_power2": derivative**2,
        f"{name}_power2": column**2,
    }


def numbered(prefix: str, columns: np.ndarray) -> dict[str, np.ndarray]:
    """Name the columns of a matrix by numbers of two digits."""
    return {f"{prefix}{number:02}": column for number, column in enumerate(columns.T)}


def cosines(n_volumes: int, n_unsteady: int, t_r: float) -> np.ndarray:
    """Make the cosines of a high-pass filter over the volumes in a steady state, 0 before them: a column each."""
    n_steady = n_volumes - n_unsteady
    orders = np.arange(1, int(2 * n_steady * t_r / SLOWEST) + 1)
    waves = np.sqrt(2 / n_steady) * np.cos(np.pi * np.outer(np.arange(n_steady) + 0.5, orders) / n_steady)
    return np.vstack([np.zeros((n_unsteady, orders.size)), waves])


def write_confounds(columns: Mapping[str, np.ndarray], path: Path) -> None:
    """Write a table as fMRIPrep does: ``n/a`` for what is missing, whole numbers for marks."""
    marks = [name for name in columns if "outlier" in name]
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        stream.write("\t".join(columns) + "\n")
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            words = (
                "n/a" if value != value else str(int(value)) if name in marks else repr(value)
                for name, value in zip(columns, row, strict=True)
            )
            stream.write("\t".join(words) + "\n")


def describe_components(columns: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Make the sidecar of a table: what nilearn looks up of the components of CompCor."""
    described = {}
    for name in (name for name in columns if "_comp_cor_" in name):
        prefix, number = name.rsplit("_", 1)
        temporal = prefix == "t_comp_cor"
        described[name] = {
            "Method": "tCompCor" if temporal else "aCompCor",
            **({} if temporal else {"Mask": COMPONENTS[prefix]}),
            "Retained": True,
            "SingularValue": round(20 / (1 + int(number)), 3),
            "VarianceExplained": round(0.3 / (1 + int(number)), 4),
        }
    return described
