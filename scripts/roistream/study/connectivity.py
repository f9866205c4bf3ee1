"""Connectivity matrices of the regions of one image, by nilearn's ConnectivityMeasure.

Signals are float64 when they get there, whatever type they were extracted in. In float32 the estimators of scikit-learn stay in
float32, and the last three or four digits of a matrix depend on how many threads multiply.
"""

import warnings
from typing import Any

import numpy as np

from roistream.study.matrices import ESTIMATORS, MEASURES
from roistream.study.signals import Signals


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
