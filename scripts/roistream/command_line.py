"""Options that several programs share."""

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CLEANING_OPTIONS = (
    "smoothing_fwhm",
    "detrend",
    "standardize",
    "standardize_confounds",
    "low_pass",
    "high_pass",
    "t_r",
)


def add_log_option(parser: argparse.ArgumentParser) -> None:
    """Add where the log goes beside stderr."""
    parser.add_argument("--log", type=Path, help="file to write the log to, too")


def add_extraction_options(parser: argparse.ArgumentParser) -> None:
    """Add what an extraction of masks reads, its workers and its cleaning."""
    parser.add_argument("--image", required=True, type=Path, help="4D NIfTI")
    parser.add_argument("--masks", required=True, type=Path, nargs="+", help="binary masks on the image's grid")
    parser.add_argument("--n-jobs", type=int, default=1, help="parallel workers (default: 1)")
    add_cleaning_options(parser)


def add_cleaning_options(parser: argparse.ArgumentParser) -> None:
    """Add the tables of confounds and the options of cleaning."""
    parser.add_argument("--confounds", type=Path, nargs="+", default=(), help="one table of confounds for each run")
    options = parser.add_argument_group("cleaning, named as in NiftiMasker")
    options.add_argument("--smoothing-fwhm", type=float, metavar="MM")
    options.add_argument("--detrend", action=argparse.BooleanOptionalAction, default=False)
    options.add_argument("--standardize", choices=("zscore_sample", "psc"))
    options.add_argument("--standardize-confounds", action=argparse.BooleanOptionalAction, default=True)
    options.add_argument("--low-pass", type=float, metavar="HZ")
    options.add_argument("--high-pass", type=float, metavar="HZ")
    options.add_argument("--t-r", type=float, metavar="SECONDS", help="default: the header's")


def add_confound_columns_option(parser: argparse.ArgumentParser) -> None:
    """Add which columns of the confounds are used."""
    parser.add_argument(
        "--confound-columns",
        nargs="+",
        metavar="NAME",
        help="columns of the confounds, by name or pattern such as 'trans_*' (default: all)",
    )


def add_memory_option(parser: argparse.ArgumentParser) -> None:
    """Add what to do when memory will not suffice."""
    parser.add_argument(
        "--memory-shortage",
        choices=("error", "warn"),
        default="error",
        help="what to do when the predicted peak is more than what is available (default: error)",
    )


def add_region_options(parser: argparse.ArgumentParser) -> None:
    """Add which regions of an atlas are wanted, and how they are called."""
    parser.add_argument(
        "--labels", type=Path, metavar="TSV", help="columns index and name (default: regions are called region-1, …)"
    )
    parser.add_argument(
        "--regions",
        type=parse_regions,
        default="all",
        help="'all' (default), the first so many labels, such as 6, or a list of labels, such as '[3, 9]'",
    )
    parser.add_argument(
        "--empty-regions",
        choices=("error", "keep"),
        default="error",
        help="a label without a voxel on the grid: an error, or a column without values (default: error)",
    )


def parse_extraction_options(parser: argparse.ArgumentParser) -> dict:
    """Parse the command line and check those options; the cleaning options are put into one entry, ``cleaning``."""
    arguments = vars(parser.parse_args())
    if arguments["n_jobs"] < 1:
        parser.error("argument --n-jobs: give a number of at least 1")
    return take_cleaning(parser, arguments)


def take_cleaning(parser: argparse.ArgumentParser, arguments: dict) -> dict:
    """Check the options of cleaning and put them into one entry, ``cleaning``."""
    for name in ("smoothing_fwhm", "low_pass", "high_pass", "t_r"):
        if arguments[name] is not None and not arguments[name] > 0:
            parser.error(f"argument --{name.replace('_', '-')}: give a number above 0")
    if arguments["low_pass"] and arguments["high_pass"] and arguments["low_pass"] <= arguments["high_pass"]:
        parser.error("argument --low-pass: give a frequency above --high-pass")
    arguments["cleaning"] = {name: arguments.pop(name) for name in CLEANING_OPTIONS}
    return arguments


def parse_regions(text: str) -> int | str | list[int]:
    """Read the config key ``regions`` from the command line, where it is spelt as in the config."""
    try:
        regions = "all" if text == "all" else json.loads(text)
    except ValueError:
        regions = None
    listed = regions if isinstance(regions, list) else [regions]
    if regions != "all" and (not listed or any(type(number) is not int or number < 1 for number in listed)):
        raise argparse.ArgumentTypeError(f"{text!r} is none of 'all', a number such as 6, and labels such as '[3, 9]'")
    return regions


def options_of(values: Mapping[str, Any]) -> str:
    """Word options for a shell.

    Parameters
    ----------
    values : mapping
        By names of parameters. None is left out, true and false become ``--name`` and ``--no-name``, a sequence becomes
        several words.

    >>> options_of({"t_r": 2.5, "detrend": False, "labels": None, "confound_columns": ["csf", "trans_*"]})
    "--t-r 2.5 --no-detrend --confound-columns csf 'trans_*'"
    """
    words = []
    for name, value in values.items():
        option = name.replace("_", "-")
        if value is None:
            continue
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, list | tuple):
            words += [f"--{option}", *map(str, value)]
        else:
            words += [f"--{option}", str(value)]
    return shlex.join(words)
