"""Options that several programs share, and how to word options for them."""

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
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


def options_of(options: Mapping[str, object]) -> str:
    """Word options as a part of a shell command.

    Parameters
    ----------
    options : mapping
        Values by the parameters' names: ``confound_columns`` becomes ``--confound-columns``. None and an empty list are left
        out; a truth value becomes ``--name`` or ``--no-name``, a list several words, and so does a mapping, each of the form
        ``key=value``.

    Returns
    -------
    str
        The words, each quoted for a POSIX shell, with a blank between them.
    """
    words = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        elif isinstance(value, Mapping):
            words += [option, *(f"{key}={inner}" for key, inner in value.items())] if value else []
        elif isinstance(value, Sequence) and not isinstance(value, str):
            words += [option, *map(str, value)] if value else []
        elif value is not None:
            words += [option, str(value)]
    return shlex.join(words)


def add_log_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for what `roistream.reporting.reporting` takes."""
    parser.add_argument("--log", type=Path, metavar="FILE", help="file to write the messages to, beside stderr")


def positive(word: str) -> int:
    """Read a number of at least 1."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError("give a number of at least 1")
    return int(word)


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
    parser.add_argument("--n-jobs", type=positive, default=1, help="parallel workers (default: 1)")
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
    if arguments["atlas"] and not arguments["regions"]:
        parser.error("argument --atlas: give --regions as well, the table of the labels to extract")
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
