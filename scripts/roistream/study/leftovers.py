"""Matrices and Parquet files that are not asked for any more, and the records of jobs whose files are not all there."""

import json
import logging
import shutil
from collections.abc import Collection
from pathlib import Path

from roistream.study.derivatives import PARQUET_CONNECTIVITY, PARQUET_SIGNALS

logger = logging.getLogger("roistream")


def remove_matrices(study: Path, atlas: str, asked: Collection[str], estimator: str) -> list[Path]:
    """Remove the matrices of an atlas that are of a kind, or by an estimator, which is not asked for any more.

    Parameters
    ----------
    study : path
        The folder of the dataset.
    atlas : str
        What file names call the atlas.
    asked : collection of str
        How the names of those that are asked for go on behind it, see `roistream.study.matrices.matrix_name`.
    estimator : str
        What sidecars call the estimator that is asked for.

    Returns
    -------
    list of pathlib.Path
        What has been removed.
    """
    removed = []
    for table in sorted(study.glob(f"**/*_atlas-{atlas}_*_relmat.tsv")):
        name = table.name.rpartition(f"_atlas-{atlas}_")[2].removesuffix("_relmat.tsv")
        sidecar = table.with_suffix(".json")
        if name in asked and made_by(sidecar) == estimator:
            continue
        for path in (table, sidecar):
            path.unlink(missing_ok=True)
            removed.append(path)
    if removed:
        logger.info("Removed %d matrices that are not asked for any more.", len(removed) // 2)
    return removed


def made_by(sidecar: Path) -> str | None:
    """Read which estimator a matrix is from; None where that cannot be told."""
    try:
        return json.loads(sidecar.read_text("utf-8"))["CovarianceEstimator"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_parquet(study: Path, keep: bool, keep_connectivity: bool) -> None:
    """Remove the study as one dataset, or its table of connectivity, where it is not asked for or not up to date."""
    if not keep:
        shutil.rmtree(study / PARQUET_SIGNALS, ignore_errors=True)
    if not keep_connectivity:
        (study / PARQUET_CONNECTIVITY).unlink(missing_ok=True)


def remove_records(records: Path, study: Path) -> None:
    """Remove records of which a file is missing, so that the job that has written it makes it again."""
    for record in records.glob("*.json"):
        try:
            complete = all((study / name).exists() for name in json.loads(record.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            complete = False
        if not complete:
            record.unlink()
