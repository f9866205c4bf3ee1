"""Options that several programs share."""

import argparse
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
        "--wanted",
        nargs="+",
        default=["all"],
        metavar="LABEL",
        help="labels of the regions (default: all of the atlas)",
    )
    parser.add_argument("--first", type=int, metavar="N", help="the first N labels instead")
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


def take_regions(parser: argparse.ArgumentParser, arguments: dict) -> dict:
    """Turn ``--wanted`` and ``--first`` into one entry, ``regions``: "all", a number, or a list of labels."""
    wanted, first = arguments.pop("wanted"), arguments.pop("first")
    if first is not None and first < 1:
        parser.error("argument --first: give a number of at least 1")
    if wanted != ["all"] and not all(label.isdecimal() for label in wanted):
        parser.error("argument --wanted: give whole numbers, or all")
    arguments["regions"] = first if first is not None else "all" if wanted == ["all"] else list(map(int, wanted))
    return arguments


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
