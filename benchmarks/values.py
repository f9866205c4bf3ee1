"""Compare a table of time series with what another program gave: python -m benchmarks.values TABLE OTHER.

OTHER is an array (.npy), of as many columns as the table, or the text of a program that says one number for each volume: the mean
of the first region. Prints JSON: ``identical`` (to the bit, once the table's numbers are in the array's type) and
``largest_difference``, a share of the table's largest value.
"""

import json
import sys
from pathlib import Path

import numpy as np


def compare(table: Path, other: Path) -> dict:
    """Compare the values.

    Parameters
    ----------
    table : path
        TSV with a header; ``n/a`` is NaN.
    other : path
        ``.npy``, ``(n_volumes, n_regions)``, or text.

    Returns
    -------
    dict
        ``identical`` and ``largest_difference`` (infinite if the shapes differ).
    """
    lines = table.read_text("utf-8").splitlines()[1:]
    ours = np.array([[float(cell.replace("n/a", "nan")) for cell in line.split("\t")] for line in lines])
    if other.suffix == ".npy":
        theirs = np.load(other)
    else:
        theirs = np.loadtxt(other, ndmin=1)[:, np.newaxis]
        ours = ours[:, :1]
    if ours.shape != theirs.shape:
        return {"identical": False, "largest_difference": float("inf")}
    identical = np.array_equal(ours.astype(theirs.dtype), theirs, equal_nan=True)
    difference = np.nanmax(np.abs(ours - theirs)) / np.nanmax(np.abs(ours))
    return {"identical": identical, "largest_difference": float(difference)}


if __name__ == "__main__":
    print(json.dumps(compare(*map(Path, sys.argv[1:]))))
