"""The signals of an image, read again from its table."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roistream.errors import UserError


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
