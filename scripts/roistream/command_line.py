"""Options that several programs share."""

import argparse
from pathlib import Path

CLEANING_OPTIONS = (
    "smoothing_fwhm",
    "detrend",
    "standardize",
    "standardize_confounds",
    "low_pass",
    "high_pass",
    "t_r",
)


def add_extraction_options(parser: argparse.ArgumentParser) -> None:
    """Add what an extraction reads, its workers and its cleaning."""
    parser.add_argument(
        "--image", required=True, type=Path, nargs="+", help="4D NIfTI, or its runs in order (or 3D volumes of a run)"
    )
    regions = parser.add_mutually_exclusive_group(required=True)
    regions.add_argument("--masks", type=Path, nargs="+", default=(), help="binary masks on the image's grid")
    regions.add_argument(
        "--atlas", type=Path, help="label image on the image's grid, instead of masks; needs --regions"
    )
    parser.add_argument("--regions", type=Path, help="regions.tsv: the labels, their names, and which may be empty")
    parser.add_argument("--n-jobs", type=int, default=1, help="parallel workers (default: 1)")
    parser.add_argument("--confounds", type=Path, nargs="+", default=(), help="one table of confounds for each run")
    options = parser.add_argument_group("cleaning, named as in NiftiMasker")
    options.add_argument("--smoothing-fwhm", type=float, metavar="MM")
    options.add_argument("--detrend", action=argparse.BooleanOptionalAction, default=False)
    options.add_argument("--standardize", choices=("zscore_sample", "psc"))
    options.add_argument("--standardize-confounds", action=argparse.BooleanOptionalAction, default=True)
    options.add_argument("--low-pass", type=float, metavar="HZ")
    options.add_argument("--high-pass", type=float, metavar="HZ")
    options.add_argument("--t-r", type=float, metavar="SECONDS", help="default: the header's")


def parse_extraction_options(parser: argparse.ArgumentParser) -> dict:
    """Parse the command line and check those options; the cleaning options are put into one entry, ``cleaning``."""
    arguments = vars(parser.parse_args())
    if arguments["n_jobs"] < 1:
        parser.error("argument --n-jobs: give a number of at least 1")
    if arguments["atlas"] and not arguments["regions"]:
        parser.error("argument --atlas: give --regions as well, the table of the labels to extract")
    for name in ("smoothing_fwhm", "low_pass", "high_pass", "t_r"):
        if arguments[name] is not None and not arguments[name] > 0:
            parser.error(f"argument --{name.replace('_', '-')}: give a number above 0")
    if arguments["low_pass"] and arguments["high_pass"] and arguments["low_pass"] <= arguments["high_pass"]:
        parser.error("argument --low-pass: give a frequency above --high-pass")
    arguments["cleaning"] = {name: arguments.pop(name) for name in CLEANING_OPTIONS}
    return arguments
