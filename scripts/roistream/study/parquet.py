"""A study as one dataset for machine learning, in Parquet: its signals, and a row of connectivity for each image."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from roistream.errors import UserError
from roistream.outputs import whole_file
from roistream.study.matrices import MEASURES, Measure, read_matrix
from roistream.study.signals import Signals

FIRST_COLUMNS = ("image", "volume", "time")


def write_image_signals(signals: Signals, image: str, path: Path) -> None:
    """Write the signals of one image: a row for each volume; ``image``, ``volume``, ``time``, and a column for each region.

    Parameters
    ----------
    signals : Signals
        Of the image, in their type. What is ``n/a`` in the table is null.
    image : str
        What file names call it.
    path : path
        The Parquet file to write. Volumes are counted from 0 through all runs of the image; times are seconds from the
        beginning of each run, null where the TR is not known.

    Raises
    ------
    UserError
        A region is called as one of the first columns.
    """
    if taken := [name for name in signals.names if name in FIRST_COLUMNS]:
        raise UserError(f"A region is called {taken[0]!r}, as a column of the Parquet files is; give it another name.")
    volumes = np.arange(len(signals.values)) if signals.volumes is None else signals.volumes
    starts = np.array([run["FirstVolume"] for run in signals.sidecar["Runs"]])
    in_run = volumes - starts[np.searchsorted(starts, volumes, side="right") - 1]
    t_r = signals.sidecar.get("RepetitionTime")
    columns = {
        "image": pa.array([image] * len(volumes), pa.string()),
        "volume": pa.array(volumes, pa.int32()),
        "time": pa.array(in_run * t_r) if t_r else pa.nulls(len(volumes), pa.float64()),
        **dict(zip(signals.names, map(null_for_nan, np.ascontiguousarray(signals.values.T)), strict=True)),
    }
    with whole_file(path) as partial:
        pq.write_table(pa.table(columns), partial)


def write_connectivity(
    images: Sequence[tuple[str, Sequence[Path]]], kinds: Sequence[str], fisher_z: bool, path: Path
) -> None:
    """Write a row for each image, and a column for each pair of regions and kind of matrix.

    What has to be in memory is a group of rows, and what Parquet notes of each column and group, about as much as 100 numbers.
    With groups of 10 times the root of the number of rows both are the same, and as small as can be.

    Parameters
    ----------
    images : sequence of tuple
        What file names call an image, and the files of its matrices, one for each kind.
    kinds : sequence of str
        Some of `roistream.study.matrices.MEASURES`.
    fisher_z : bool
        Whether the matrices are Fisher's z, where that can be.
    path : path
        The Parquet file to write: ``image``, then the pairs of `pair_names`, float64; null where a matrix has ``n/a``.
    """
    measures = [MEASURES[kind] for kind in kinds]
    n_in_group = max(1, round(10 * math.sqrt(len(images))))
    with whole_file(path) as partial:
        regions, _ = read_matrix(images[0][1][0])
        names = [name for measure in measures for name in pair_names(measure, regions, fisher_z)]
        schema = pa.schema([("image", pa.string()), *((name, pa.float64()) for name in names)])
        held = np.empty((len(names), min(n_in_group, len(images))))  # a column beside the other, as Parquet has them
        with pq.ParquetWriter(partial, schema, use_dictionary=False, write_statistics=False) as writer:
            for first in range(0, len(images), n_in_group):
                group = images[first : first + n_in_group]
                for row, (_, matrices) in enumerate(group):
                    held[:, row] = np.concatenate(
                        [
                            values_of(matrix, measure, regions)
                            for matrix, measure in zip(matrices, measures, strict=True)
                        ]
                    )
                columns = map(null_for_nan, held[:, : len(group)])
                writer.write_table(pa.table([pa.array([image for image, _ in group]), *columns], schema=schema))


def values_of(matrix: Path, measure: Measure, regions: Sequence[str]) -> np.ndarray:
    """Read the values of a matrix, in the order of `pair_names`."""
    names, values = read_matrix(matrix)
    if names != list(regions):
        raise UserError(f"{matrix} has other regions than the matrices of other images; delete it, and run again.")
    return values[lower_triangle(len(names), measure)]


def pair_names(measure: Measure, regions: Sequence[str], fisher_z: bool) -> list[str]:
    """Name the columns of a kind of matrix, such as ``pearsoncorrelation: this region ~ that region``."""
    statistic = f"{measure.statistic} (Fisher's z)" if fisher_z and measure.bounded else measure.statistic
    pairs: Iterable = zip(*lower_triangle(len(regions), measure), strict=True)
    return [f"{statistic}: {regions[row]} ~ {regions[column]}" for row, column in pairs]


def lower_triangle(n_regions: int, measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    """List the pairs in nilearn's order, row by row of the lower triangle; with the diagonal, where that tells anything."""
    return np.tril_indices(n_regions, 0 if measure.valid_diagonal else -1)


def null_for_nan(values: np.ndarray) -> pa.Array:
    """Make a column of values."""
    missing = np.isnan(values)
    return pa.array(values, mask=missing if missing.any() else None)
