"""The kinds of connectivity matrices, what the files call them, and the files."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roistream.errors import UserError
from roistream.outputs import whole_file

ESTIMATORS = {"ledoit_wolf": "LedoitWolf", "empirical": "EmpiricalCovariance"}
"""What may estimate the covariance, by the names of scikit-learn: shrunk, nilearn's default, or as it is in the sample."""


@dataclass(frozen=True)
class Measure:
    """A kind of matrix.

    Attributes
    ----------
    statistic : str
        What file names call it, as XCP-D does.
    title : str
        What sidecars call it.
    valid_diagonal : bool
        Whether the diagonal tells anything.
    needs_inverse : bool
        Whether it is made from the inverse of the covariance.
    """

    statistic: str
    title: str
    valid_diagonal: bool
    needs_inverse: bool

    @property
    def bounded(self) -> bool:
        """Whether its values lie between -1 and 1, of which Fisher's z can be taken."""
        return not self.valid_diagonal


MEASURES = {
    "correlation": Measure("pearsoncorrelation", "Pearson correlation", False, False),
    "partial correlation": Measure("partialcorrelation", "partial correlation", False, True),
    "covariance": Measure("covariance", "covariance", True, False),
    "precision": Measure("precision", "precision", True, True),
}
"""By nilearn's names."""


def matrix_name(kind: str, fisher_z: bool) -> str:
    """Give how the name of a matrix's file goes on behind the atlas.

    >>> matrix_name("correlation", False), matrix_name("correlation", True), matrix_name("precision", True)
    ('stat-pearsoncorrelation', 'stat-pearsoncorrelation_desc-fisherz', 'stat-precision')
    """
    measure = MEASURES[kind]
    return f"stat-{measure.statistic}{'_desc-fisherz' if fisher_z and measure.bounded else ''}"


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
