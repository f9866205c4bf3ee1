#!/usr/bin/env python3
"""Make a study to try things on: a simulated dataset as fMRIPrep leaves it, and an atlas.

Small and offline; `make example-study` makes one of four subjects. The last three runs are odd on purpose: one image is cut off,
one has no confounds, in one the head hardly ever lies still.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.command_line import add_log_option, positive
from roistream.outputs import whole_file
from roistream.reporting import reporting
from roistream.samples.fmriprep import N_PARCELS, SPACES, save, simulate_fmriprep
from roistream.samples.simulation import ATLAS_AFFINE, ATLAS_GRID, simulate_labels

ATLAS = "tpl-MNI152NLin2009cAsym_atlas-Example_dseg"
"""The atlas of the study; the voxels of each of its labels share a signal."""

logger = logging.getLogger("roistream")


def make_example_study(
    folder: Path,
    n_subjects: int = 4,
    n_sessions: int = 2,
    spaces: Sequence[str] = ("T1w", "MNI152NLin2009cAsym"),
    n_volumes: int = 120,
    odd_runs: bool = True,
    seed: int = 0,
) -> None:
    """Write a dataset below ``derivatives/fmriprep``, and an atlas with the names of its regions.

    Parameters
    ----------
    folder : path
        The folder of the study.
    n_subjects, n_sessions, spaces, n_volumes, odd_runs, seed
        See `roistream.samples.fmriprep.simulate_fmriprep`.
    """
    runs = simulate_fmriprep(
        folder / "derivatives" / "fmriprep", n_subjects, n_sessions, spaces, n_volumes, odd_runs, seed
    )
    labels = simulate_labels(N_PARCELS, seed).astype("<i2")
    save(folder / f"{ATLAS}.nii.gz", labels, ATLAS_GRID, ATLAS_AFFINE, "mni")
    with whole_file(folder / f"{ATLAS}.tsv") as partial:
        rows = "".join(f"{label}\tparcel {label:02}\n" for label in range(1, N_PARCELS + 1))
        partial.write_text(f"index\tname\n{rows}", "utf-8")
    logger.info("%s: %d run(s) of %d subject(s), in %d space(s).", folder, len(runs), n_subjects, len(spaces))
    for run in runs:
        if run.oddity:
            logger.info("%s is odd on purpose: %s.", run.stem, run.oddity)


def parse_arguments() -> dict:
    """Read the command line into the parameters of `make_example_study`, and ``log``."""
    parser = argparse.ArgumentParser(description="Make a simulated study as fMRIPrep leaves it, and an atlas.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the study's folder, made if need be")
    parser.add_argument("--n-subjects", type=positive, default=4, metavar="N", help="default: 4")
    parser.add_argument(
        "--n-sessions",
        type=int,
        choices=range(10),
        default=2,
        metavar="N",
        help="0: names have no session (default: 2)",
    )
    parser.add_argument(
        "--spaces",
        nargs="+",
        choices=list(SPACES),
        default=["T1w", "MNI152NLin2009cAsym"],
        metavar="SPACE",
        help=f"some of {', '.join(SPACES)} (this one: cleaned by ICA-AROMA); default: the first two",
    )
    parser.add_argument("--n-volumes", type=positive, default=120, metavar="N", help="of each run (default: 120)")
    parser.add_argument(
        "--odd-runs",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="make the last three runs odd ones (default)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    add_log_option(parser)
    return vars(parser.parse_args())


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting(arguments.pop("log")):
        make_example_study(**arguments)
