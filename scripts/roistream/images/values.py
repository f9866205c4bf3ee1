"""Types of values."""

from pathlib import Path

import numpy as np

from roistream.errors import UserError


def as_float32(values: np.ndarray, name: str | Path = "The image") -> np.ndarray:
    """Round to float32, in native byte order and C order.

    Parameters
    ----------
    values : numpy.ndarray
        Of any real type.
    name : str or path
        What the message calls their origin.

    Raises
    ------
    UserError
        A value is beyond float32's range; it would become infinite.
    """
    try:
        with np.errstate(over="raise"):
            return np.ascontiguousarray(values, np.float32)
    except FloatingPointError:
        raise UserError(f"{name} holds values beyond the range of float32 (3.4e38); rescale it.") from None
