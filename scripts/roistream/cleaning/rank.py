"""What confounds take from a signal: their rank, what is left, and which of them are nothing but rounding error.

nilearn removes the mean (and, with ``detrend``, the linear trend) from confounds, brings each to unit variance, and takes the
space that they span out of the signals. A column of which the first step leaves nothing but rounding error is scaled up
like any other.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roistream.errors import UserError

logger = logging.getLogger("roistream")

ROUNDING = 1e-6
"""A column depends on others if they leave less than this share of it: numbers in tables are rounded."""

DROPPED = 1e-13
"""What nilearn takes for 0, as a share of a column."""

MOST_COSINES = 100
"""Slow cosines that a column is held against."""


@dataclass(frozen=True)
class Removal:
    """What the confounds take from a part of an image that is cleaned by itself.

    Attributes
    ----------
    table : str
        Where they are from.
    names : tuple of str
        The confounds.
    n_volumes : int
        Volumes of the part.
    rank : int
        Dimensions that the confounds take, beside the mean and, with ``detrend``, the linear trend.
    n_left : int
        Dimensions that are left: the degrees of freedom of what comes out.
    n_passed : float or None
        About as many of the dimensions the filters let pass; None without filters.
    constant, linear, dependent : tuple of str
        Columns that hold one value; that are a straight line, with ``detrend``; that the columns before them determine.
    cosines : tuple of str
        Slow cosines, which are a high-pass filter, beside ``high_pass``.
    """

    table: str
    names: tuple[str, ...]
    n_volumes: int
    rank: int
    n_left: int
    n_passed: float | None = None
    constant: tuple[str, ...] = ()
    linear: tuple[str, ...] = ()
    dependent: tuple[str, ...] = ()
    cosines: tuple[str, ...] = ()


def look_at_confounds(values: np.ndarray, names: Sequence[str], table: str, options: Mapping[str, Any]) -> Removal:
    """Find out what confounds take.

    Parameters
    ----------
    values : numpy.ndarray
        float64, ``(n_volumes, n_confounds)``: those of a part that is cleaned by itself.
    names : sequence of str
        The columns.
    table : str
        What messages call the table.
    options : mapping
        Of these: ``detrend``, ``standardize_confounds``, ``low_pass``, ``high_pass``, ``t_r``.
    """
    n_volumes = len(values)
    detrend, high_pass = bool(options.get("detrend")), options.get("high_pass")
    keeps_mean = options.get("standardize_confounds") is False and not detrend
    volume = np.arange(n_volumes) - (n_volumes - 1) / 2
    known = [np.full(n_volumes, n_volumes**-0.5)]
    if detrend and n_volumes > 1:
        known.append(volume / np.linalg.norm(volume))
    basis = np.empty((n_volumes, min(n_volumes, len(names) + len(known))))
    basis[:, : len(known)] = np.transpose(known)
    n_known = n_basis = len(known)
    constant: list[str] = []
    linear: list[str] = []
    dependent: list[str] = []
    cosines: list[str] = []
    waves = slow_cosines(n_volumes) if high_pass else None
    for name, column in zip(names, values.T, strict=True):
        size = np.abs(column).max(initial=0)
        column = column / size if size else column
        centred = column - column.mean()
        spread = np.linalg.norm(centred)
        if spread <= DROPPED * max(float(np.linalg.norm(column)), 1):
            if not keeps_mean:
                constant.append(name)
            continue
        centred /= spread
        if waves is not None and (name.startswith("cosine") or np.abs(centred @ waves).max(initial=0) > 1 - ROUNDING):
            cosines.append(name)
        is_line = np.linalg.norm(project_out(centred, basis[:, :n_known])) < ROUNDING
        rest = project_out(centred, basis[:, :n_basis])
        left = np.linalg.norm(rest)
        if is_line:
            linear.append(name)
        elif left < ROUNDING:
            dependent.append(name)
        # What is rounding error to a person is a confound to nilearn, if it takes it for more than 0.
        if left > (0 if is_line else DROPPED) and n_basis < basis.shape[1]:
            direction = project_out(rest / left, basis[:, :n_basis])
            if (length := np.linalg.norm(direction)) > 0.5:  # else it was the rounding error of taking out the basis
                basis[:, n_basis] = direction / length
                n_basis += 1
    rank = n_basis - n_known
    return Removal(
        table,
        tuple(names),
        n_volumes,
        rank,
        max(0, n_volumes - n_basis),
        passed_dimensions(n_volumes, options),
        tuple(constant),
        tuple(linear),
        tuple(dependent),
        tuple(cosines),
    )


def project_out(column: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Take an orthonormal basis out of a column; twice, for what rounding leaves of it."""
    for _ in range(2):
        column = column - basis @ (basis.T @ column)
    return column


def slow_cosines(n_volumes: int) -> np.ndarray:
    """Make the slow functions of the discrete cosine transform, of unit norm, without the constant: a column each."""
    orders = np.arange(1, min(n_volumes, MOST_COSINES + 1))
    waves = np.cos(np.pi * np.outer(np.arange(n_volumes) + 0.5, orders) / n_volumes)
    return waves / np.linalg.norm(waves, axis=0)


def passed_dimensions(n_volumes: int, options: Mapping[str, Any]) -> float | None:
    """Estimate how many dimensions filters let pass: two for each frequency that a run of this length has in the band."""
    low_pass, high_pass, t_r = (options.get(key) for key in ("low_pass", "high_pass", "t_r"))
    if t_r is None or (low_pass is None and high_pass is None):
        return None
    highest = 0.5 / t_r if low_pass is None else low_pass
    return 2 * n_volumes * t_r * (highest - (high_pass or 0))


def refuse_nothing_left(removal: Removal) -> None:
    """Refuse confounds that leave nothing of a signal: what came out would be rounding error."""
    if removal.n_left or not removal.rank:
        return
    taken = "the mean" if removal.rank == removal.n_volumes - 1 else "the mean and the linear trend"
    raise UserError(
        f"The confounds {removal.table} leave nothing of the signal: {len(removal.names)} columns of rank {removal.rank} and "
        f"{taken}, for {removal.n_volumes} volumes; choose fewer by confound_columns."
    )


def tell_confounds(removals: Sequence[Removal], tell: Callable[..., None] = logger.warning) -> None:
    """Tell in a log what is odd about confounds: once for all tables of which it is true."""
    oddities: dict[str, list[str]] = {}
    for removal in removals:
        for oddity in odd_confounds(removal):
            oddities.setdefault(oddity, []).append(removal.table)
    for oddity, tables in oddities.items():
        tables = list(dict.fromkeys(tables))
        of_all = f"{tables[0]} and {len(tables) - 1} more" if len(tables) > 1 else tables[0]
        tell("Confounds %s: %s.", of_all, oddity)


def odd_confounds(removal: Removal) -> list[str]:
    """Word what is odd about the confounds of a part, each in one sentence."""
    found = []
    if removal.constant:
        found.append(f"{listed(removal.constant)} constant, which takes nothing from the signal")
    if removal.linear:
        found.append(
            f"{listed(removal.linear)} linear, which detrend removes already; "
            "what that leaves is rounding error, which nilearn scales up and regresses out"
        )
    if removal.dependent:
        found.append(
            f"{listed(removal.dependent)} linearly dependent on the columns before, and no more than rounding error"
        )
    if removal.cosines:
        found.append(f"high-passed twice, by high_pass and by {', '.join(removal.cosines)}; use one of them")
    left = removal.n_left if removal.n_passed is None else min(removal.n_left, removal.n_passed - removal.rank)
    if removal.rank and left < removal.n_volumes / 10:
        filtered = (
            ""
            if removal.n_passed is None
            else f", of which the filters let about {removal.n_passed:.0f} dimensions pass"
        )
        found.append(
            f"their rank is {removal.rank} for {removal.n_volumes} volumes{filtered}: {max(0, left):.0f} degrees of freedom "
            "are left, and what comes out is little more than noise"
        )
    return found


def listed(names: Sequence[str]) -> str:
    """List names as the subject of a sentence."""
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
