#!/usr/bin/env python3
"""Work out the connectivity matrices of images from their tables of signals.

For several images at once: nilearn's import takes longer than their matrices.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option
from roistream.outputs import whole_file
from roistream.reporting import reporting
from roistream.study.connectivity import connect, describe_matrix
from roistream.study.derivatives import image_prefix
from roistream.study.matrices import ESTIMATORS, MEASURES, matrix_name, write_matrix
from roistream.study.signals import read_signals
from roistream.study.timeseries import software_versions, write_sidecar

logger = logging.getLogger("roistream")


def connect_regions(
    study: Path,
    atlas_name: str,
    images: Sequence[str],
    kinds: Sequence[str],
    statistic: str = "mean",
    estimator: str = "ledoit_wolf",
    fisher_z: bool = False,
    record: Path | None = None,
) -> None:
    """Write a matrix of each kind, with its sidecar, beside each image's table of signals.

    Parameters
    ----------
    study : path
        The folder of the results.
    atlas_name : str
        What file names call the atlas.
    images : sequence of str
        What file names call the images.
    kinds : sequence of str
        Some of `roistream.study.matrices.MEASURES`.
    statistic : str
        The statistic whose signals are taken.
    estimator : str
        One of `roistream.study.matrices.ESTIMATORS`.
    fisher_z : bool
        Write Fisher's z of the measures between -1 and 1, in their place.
    record : path, optional
        JSON to write when all is done: the files that have been made, relative to the study's folder.

    Raises
    ------
    UserError
        A table of signals cannot be read.
    """
    root, made = study.parent.parent, []
    for image in images:
        prefix = root / image_prefix(image, atlas_name)
        table = Path(f"{prefix}_stat-{statistic}_timeseries.tsv")
        signals = read_signals(table)
        inside = table.relative_to(study).as_posix()
        for kind in kinds:
            path = Path(f"{prefix}_{matrix_name(kind, fisher_z)}_relmat.tsv")
            write_matrix(connect(signals, kind, estimator, fisher_z), signals.names, path)
            sidecar = describe_matrix(signals, inside, atlas_name, kind, estimator, fisher_z)
            write_sidecar({**sidecar, "SoftwareVersions": software_versions()}, path.with_suffix(".json"))
            made.append(path.relative_to(study).as_posix())
            for remark in sidecar["Remarks"]:
                logger.warning("%s: no %s: %s.", image, kind, remark)
        if missing := sidecar["NodesMissing"]:
            logger.warning("%s: %d region(s) have no signal, their rows are n/a: %s.", image, len(missing), missing[0])
    if record:
        with whole_file(record) as partial:
            partial.write_text(json.dumps(made, indent=0) + "\n", "utf-8")
    logger.info("%d matrices of %d image(s).", len(made), len(images))


def parse_arguments() -> dict:
    """Read the command line into the parameters of `connect_regions`."""
    parser = argparse.ArgumentParser(description="Work out connectivity matrices from tables of signals.")
    parser.add_argument("--study", required=True, type=Path, help="folder of the results")
    parser.add_argument("--atlas-name", required=True, help="what file names call the atlas")
    parser.add_argument("--images", required=True, nargs="+", metavar="IMAGE", help="what file names call the images")
    parser.add_argument(
        "--kinds", required=True, nargs="+", choices=MEASURES, metavar="KIND", help=f"some of {', '.join(MEASURES)}"
    )
    parser.add_argument("--statistic", default="mean", help="the statistic whose signals are taken (default: mean)")
    parser.add_argument(
        "--estimator",
        choices=ESTIMATORS,
        default="ledoit_wolf",
        help="what estimates the covariance (default: ledoit_wolf, as nilearn)",
    )
    parser.add_argument("--fisher-z", action="store_true", help="write Fisher's z of correlations in their place")
    parser.add_argument("--record", type=Path, metavar="JSON", help="write a list of what has been made")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        connect_regions(**arguments)
