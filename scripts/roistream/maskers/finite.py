"""Values that are not finite, as nilearn treats them."""

import numpy as np

from roistream.maskers import nilearn_internals as internals


def finite(values: np.ndarray) -> np.ndarray:
    """Put 0 for values that are not finite, in place; `values` must be ours."""
    if values.dtype.kind == "f":
        unusable = ~np.isfinite(values)
        if unusable.any():
            values[unusable] = 0
    return values


def warn_not_finite(values: np.ndarray) -> bool:
    """Warn of values that are not finite; tell whether there were any."""
    found = values.dtype.kind == "f" and not np.isfinite(values).all()
    if found:
        internals.ensure_finite_data(np.array([np.nan]))  # nilearn's own warning
    return found
