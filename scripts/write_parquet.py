#!/usr/bin/env python3
"""Put the results of a study into one dataset for machine learning, in Parquet.

A file of signals for each image, and one table of connectivity with a row for each image.
"""

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option
from roistream.errors import UserError
from roistream.reporting import reporting
from roistream.study.derivatives import PARQUET_CONNECTIVITY, PARQUET_SIGNALS, image_prefix, image_stem
from roistream.study.matrices import MEASURES, matrix_name
from roistream.study.signals import read_signals
from roistream.study.tables import list_images

logger = logging.getLogger("roistream")


def write_parquet(
    study: Path,
    atlas_name: str,
    statistic: str = "mean",
    images: Sequence[str] = (),
    runs_table: Path | None = None,
    kinds: Sequence[str] = (),
    fisher_z: bool = False,
    pending: Sequence[str] = (),
) -> None:
    """Write ``study_timeseries/`` and, where there are matrices, ``study_connectivity.parquet``.

    Parameters
    ----------
    study : path
        The folder of the results.
    atlas_name : str
        What file names call the atlas.
    statistic : str
        The statistic whose signals are taken.
    images : sequence of str
        The study's images, or
    runs_table : path, optional
        the table that names them.
    kinds, fisher_z
        The matrices that there are, see connect_regions.py.
    pending : sequence of str
        Images without results, which are left out.

    Raises
    ------
    UserError
        A table cannot be read, or there is no image with results.
    """
    try:
        from roistream.study.parquet import write_connectivity, write_image_signals
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise UserError(f"'parquet' needs the package pyarrow: {sys.executable} -m pip install pyarrow") from None
    root = study.parent.parent
    stems = [image_stem(image) for image in (list_images(runs_table) if runs_table else images)]
    prefixes = {stem: root / image_prefix(stem, atlas_name) for stem in stems if stem not in set(pending)}
    if not prefixes:
        raise UserError(f"{study} has no image with results; run the study first.")
    # The folder appears whole or not at all.
    partial, folder = study / f".partial-{PARQUET_SIGNALS}", study / PARQUET_SIGNALS
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for image, prefix in prefixes.items():
            signals = read_signals(Path(f"{prefix}_stat-{statistic}_timeseries.tsv"))
            write_image_signals(signals, image, partial / f"{image}.parquet")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if kinds:
        matrices = [
            (image, [Path(f"{prefix}_{matrix_name(kind, fisher_z)}_relmat.tsv") for kind in kinds])
            for image, prefix in prefixes.items()
        ]
        write_connectivity(matrices, kinds, fisher_z, study / PARQUET_CONNECTIVITY)
    logger.info("%d of %d image(s) are in the Parquet files.", len(prefixes), len(stems))


def parse_arguments() -> dict:
    """Read the command line into the parameters of `write_parquet`."""
    parser = argparse.ArgumentParser(description="Put the results of a study into one dataset in Parquet.")
    parser.add_argument("--study", required=True, type=Path, help="folder of the results")
    parser.add_argument("--atlas-name", required=True, help="what file names call the atlas")
    parser.add_argument("--statistic", default="mean", help="the statistic whose signals are taken (default: mean)")
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument("--images", nargs="+", help="the study's images")
    images.add_argument("--runs-table", type=Path, help="the runs table that names them")
    parser.add_argument(
        "--kinds", nargs="+", choices=MEASURES, default=(), metavar="KIND", help="the matrices that there are"
    )
    parser.add_argument("--fisher-z", action="store_true", help="they are Fisher's z")
    parser.add_argument("--pending", nargs="+", default=(), metavar="IMAGE", help="images without results, left out")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        write_parquet(**arguments)
