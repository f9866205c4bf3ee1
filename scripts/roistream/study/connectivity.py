"""Connectivity matrices of the regions of one image, by nilearn's ConnectivityMeasure.

Signals are float64 when they get there, whatever type they were extracted in. In float32 the estimators of scikit-learn stay in
float32, and the last three or four digits of a matrix depend on how many threads multiply.
"""

import csv
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roistream.errors import UserError
from roistream.outputs import whole_file
from roistream.study.measures import ESTIMATORS, MEASURES

logger = logging.getLogger("roistream")


@dataclass(frozen=True)
class Signals:
    """The signals of an image, as its table has them.

    Attributes
    ----------
    names : list of str
        The regions.
    values : numpy.ndarray
        ``(n_volumes, n_regions)``, in the type that they were extracted in; NaN for ``n/a``.
    sidecar : dict
        What the table's sidecar says.
    volumes : numpy.ndarray, optional
        int, ``(n_volumes,)``: which volume of the image each row is, where the table tells; else all of them are there.
    """

    names: list[str]
    values: np.ndarray
    sidecar: Mapping[str, Any]
    volumes: np.ndarray | None = None

    def present(self) -> np.ndarray:
        """Tell which regions have a signal: finite, and constant over no run.

        Of a constant signal cleaning may leave rounding error, scaled up; it would pass for a signal that goes with no other.
        """
        constant = np.isin(self.names, self.sidecar.get("ConstantRegions", []))
        with np.errstate(invalid="ignore"):
            return np.isfinite(self.values).all(axis=0) & (np.ptp(self.values, axis=0) > 0) & ~constant


def read_signals(table: Path) -> Signals:
    """Read a table of signals and its sidecar; every number becomes the one that was extracted.

    Raises
    ------
    UserError
        One of them is not there, or is not what an extraction has written.
    """
    try:
        sidecar = json.loads(table.with_suffix(".json").read_text("utf-8"))
        with table.open(newline="", encoding="utf-8") as stream:
            rows = csv.reader(stream, delimiter="\t")
            columns = next(rows)
            names = columns[-sidecar["NumberOfRegions"] :]
            first = len(columns) - len(names)  # 1 where the first column counts volumes
            cells = list(rows)
        values = [[float(cell) if cell != "n/a" else np.nan for cell in row[first:]] for row in cells]
        volumes = np.array([int(row[0]) for row in cells]) if first else None
        return Signals(names, np.array(values, sidecar["DataType"]).reshape(-1, len(names)), sidecar, volumes)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise UserError(f"{table} and its sidecar cannot be used ({error!r}); delete both, and run again.") from error


def connect(signals: Signals, kind: str, estimator: str = "ledoit_wolf", fisher_z: bool = False) -> np.ndarray:
    """Work out the matrix of a kind; the regions without a signal are left out, and get NaN.

    Parameters
    ----------
    signals : Signals
        Of one image.
    kind : str
        One of `MEASURES`.
    estimator : str
        One of `ESTIMATORS`.
    fisher_z : bool
        Give Fisher's z, the inverse hyperbolic tangent, of measures between -1 and 1. It has no diagonal.

    Returns
    -------
    numpy.ndarray
        float64, ``(n_regions, n_regions)``. All NaN where the volumes do not suffice, see `shortage`.
    """
    present = np.flatnonzero(signals.present())
    matrix = np.full((len(signals.names), len(signals.names)), np.nan)
    if not present.size or shortage(signals, kind, estimator):
        return matrix
    values = np.ascontiguousarray(signals.values[:, present], np.float64)
    found = connectivity_measure(kind, estimator).fit_transform([values])[0]
    if fisher_z and MEASURES[kind].bounded:
        with np.errstate(divide="ignore"):
            found = np.arctanh(np.clip(found, -1, 1))
        np.fill_diagonal(found, np.nan)
    matrix[np.ix_(present, present)] = found
    return matrix


def connectivity_measure(kind: str, estimator: str) -> Any:
    """Make nilearn's estimator. The import takes seconds: only who needs a matrix should pay for it."""
    from nilearn.connectome import ConnectivityMeasure
    from sklearn import covariance

    warnings.filterwarnings("ignore", "The default strategy for standardize", FutureWarning)  # the same matrices
    return ConnectivityMeasure(getattr(covariance, ESTIMATORS[estimator])(store_precision=False), kind=kind)


def shortage(signals: Signals, kind: str, estimator: str) -> str:
    """Word why the volumes do not suffice for a matrix; nothing where they do."""
    n_volumes, n_regions = len(signals.values), int(np.count_nonzero(signals.present()))
    if n_volumes < 2:
        return f"{n_volumes} volume(s) have no covariance"
    if estimator == "empirical" and MEASURES[kind].needs_inverse and n_volumes <= n_regions:
        return (
            f"the covariance of {n_regions} regions over {n_volumes} volumes has no inverse; "
            "take fewer regions, or 'covariance_estimator: ledoit_wolf'"
        )
    return ""


def describe_matrix(
    signals: Signals, table: str, atlas_name: str, kind: str, estimator: str, fisher_z: bool
) -> dict[str, Any]:
    """Make the sidecar of a matrix; `table` is the table of signals inside of the dataset."""
    measure = MEASURES[kind]
    z = fisher_z and measure.bounded
    remark = shortage(signals, kind, estimator)
    return {
        "Sources": [f"bids::{table}"],
        "RelationshipMeasure": f"Fisher's z of {measure.title}" if z else measure.title,
        "Weighted": True,
        "Directed": False,
        "ValidDiagonal": measure.valid_diagonal,
        "StorageFormat": "Full",
        "NodeFiles": [f"bids::atlas-{atlas_name}_dseg.tsv"],
        "NodesMissing": np.array(signals.names, object)[~signals.present()].tolist(),
        "CovarianceEstimator": ESTIMATORS[estimator],
        "NumberOfVolumes": len(signals.values),
        "Remarks": [remark] if remark else [],
        "Fingerprint": signals.sidecar["Fingerprint"],
    }


def write_matrix(matrix: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Write a matrix with the regions' names in both directions, ``n/a`` for NaN; each number has all its digits."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(["Node", *names])
        for name, row in zip(names, matrix.tolist(), strict=True):
            writer.writerow([name, *("n/a" if value != value else repr(value) for value in row)])


def read_matrix(path: Path) -> tuple[list[str], np.ndarray]:
    """Read what `write_matrix` has written: names and matrix."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = csv.reader(stream, delimiter="\t")
            names = next(rows)[1:]
            values = [[float(cell) if cell != "n/a" else np.nan for cell in row[1:]] for row in rows]
        return names, np.array(values).reshape(len(names), len(names))
    except (OSError, ValueError, StopIteration) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it, and run again.") from error
