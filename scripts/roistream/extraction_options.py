"""Options of the programs that extract, predict and place: what to read, which regions, how to clean."""

import argparse
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from roistream.command_line import parse, positive

CLEANING_OPTIONS = (
    "smoothing_fwhm",
    "detrend",
    "standardize",
    "standardize_confounds",
    "low_pass",
    "high_pass",
    "t_r",
    "t_r_source",
)


def add_extraction_options(parser: argparse.ArgumentParser) -> None:
    """Add what an extraction reads, its workers and its cleaning."""
    parser.add_argument(
        "--image", required=True, type=Path, nargs="+", help="4D NIfTI, or its runs in order (or 3D volumes of a run)"
    )
    regions = parser.add_mutually_exclusive_group(required=True)
    regions.add_argument(
        "--masks", type=Path, nargs="+", default=(), help="binary masks on the image's grid, or their folder"
    )
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
    add_time_options(options)


def add_time_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add what somebody says of the TR."""
    parser.add_argument(
        "--t-r",
        type=float,
        metavar="SECONDS",
        help="repetition time, whatever sidecar and header say (default: the JSON sidecar's, or the header's)",
    )
    parser.add_argument(
        "--t-r-source", metavar="NAME", help="where --t-r is from, for log and results (default: option t_r)"
    )


def add_confound_columns_option(parser: argparse.ArgumentParser) -> None:
    """Add which columns of the confounds are used."""
    parser.add_argument(
        "--confound-columns",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="columns of the confounds, by name or pattern such as 'trans_*' (default: all)",
    )
    parser.add_argument(
        "--unmatched-patterns",
        choices=("error", "warn"),
        default="error",
        help="a pattern that matches no column of these tables: an error (default), or a warning, as other images may have such",
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
    parser.add_argument(
        "--missing-orientation",
        choices=("error", "guess"),
        default="error",
        help="a header that does not say where its grid lies: an error, or a guess (default: error)",
    )


def parse_extraction_options(parser: argparse.ArgumentParser) -> dict:
    """Parse the command line and check those options; the cleaning options are put into one entry, ``cleaning``."""
    arguments = parse(parser)
    if arguments["atlas"] and not arguments["regions"]:
        parser.error("argument --atlas: give --regions as well, the table of the labels to extract")
    return take_cleaning(parser, arguments)


def take_cleaning(parser: argparse.ArgumentParser, arguments: dict) -> dict:
    """Check the options of cleaning and put them into one entry, ``cleaning``."""
    for name in ("smoothing_fwhm", "low_pass", "high_pass", "t_r"):
        if arguments[name] is not None and not arguments[name] > 0:
            parser.error(f"argument --{name.replace('_', '-')}: give a number above 0")
    if (arguments["smoothing_fwhm"] or 0) > 100:
        parser.error("argument --smoothing-fwhm: give a width in mm, at most 100")
    if arguments["low_pass"] and arguments["high_pass"] and arguments["low_pass"] <= arguments["high_pass"]:
        parser.error("argument --low-pass: give a frequency above --high-pass")
    arguments["cleaning"] = {name: arguments.pop(name) for name in CLEANING_OPTIONS}
    return arguments


def parse_regions(text: str) -> int | str | list[int]:
    """Read the config key ``regions`` from the command line, where it is spelt as in the config."""
    regions: Any = text
    if text != "all":
        with suppress(ValueError):
            regions = json.loads(text)
    listed = regions if isinstance(regions, list) else [regions]
    if regions != "all" and (not listed or any(type(number) is not int or number < 1 for number in listed)):
        raise argparse.ArgumentTypeError(f"{text!r} is none of 'all', a number such as 6, and labels such as '[3, 9]'")
    return regions
