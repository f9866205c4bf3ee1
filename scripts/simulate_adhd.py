#!/usr/bin/env python3
"""Simulate one subject of the ADHD data: a run and its regressors table, offline."""

import argparse
import logging
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option, positive
from roistream.outputs import whole_file
from roistream.reporting import reporting
from roistream.samples import adhd
from roistream.samples.simulation import simulate_run

logger = logging.getLogger("roistream")


def simulate_adhd(run: Path, confounds: Path, subject: str, n_volumes: int | None, seed: int) -> None:
    """Write a subject's run and regressors in the layout of the ADHD data.

    Parameters
    ----------
    run : path
        The ``.nii.gz`` to write, about 45 MB for 176 volumes.
    confounds : path
        The tab-separated table to write: `roistream.samples.adhd.REGRESSORS`, one row for each volume.
    subject : str
        The subject's id. Its data do not depend on the other subjects.
    n_volumes : int or None
        Length of the run; None for the length of this subject's real run.
    seed : int
        Of the random numbers. With the same seed as the simulated atlas, the 64 parcels that share a signal are the
        atlas's with 64 labels.

    Raises
    ------
    UserError
        `n_volumes` is None and `subject` is none of the 40.
    """
    if n_volumes is None:
        n_volumes = adhd.run_length(subject)
    regressors = simulate_run(run, subject, n_volumes, seed)
    with whole_file(confounds) as partial:
        np.savetxt(
            partial,
            np.column_stack(list(regressors.values())),
            delimiter="\t",
            header="\t".join(regressors),
            comments="",
        )
    logger.info("Simulated %d volumes of subject %s.", n_volumes, subject)


def parse_arguments() -> dict:
    """Read the command line into the parameters of `simulate_adhd`, and ``log``."""
    parser = argparse.ArgumentParser(description="Simulate one subject of the ADHD data.")
    parser.add_argument("--run", required=True, type=Path, help="the .nii.gz to write")
    parser.add_argument("--confounds", required=True, type=Path, metavar="TSV", help="table of regressors to write")
    parser.add_argument("--subject", required=True, metavar="ID", help="id of the subject, such as 0010042")
    parser.add_argument(
        "--n-volumes", type=positive, metavar="N", help="length of the run (default: that of the real one)"
    )
    parser.add_argument("--seed", required=True, type=int, help="of the random numbers")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        simulate_adhd(**arguments)
