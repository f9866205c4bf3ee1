"""The kinds of connectivity matrices, and what the files call them."""

from dataclasses import dataclass

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
