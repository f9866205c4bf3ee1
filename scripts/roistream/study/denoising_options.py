"""Options of programs: the denoising strategies of nilearn, and which volumes are left out."""

import argparse
from pathlib import Path

from roistream.cleaning.denoising import COMPCOR, OPTIONS, STRATEGIES, WIDTHS
from roistream.command_line import positive

LEAVING_OUT = ("drop_first", "leave_out_above", "min_volumes", "too_few_volumes")
DENOISING_OPTIONS = ("strategy", *OPTIONS, *LEAVING_OUT)


def add_denoising_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a program's command line."""
    options = parser.add_argument_group(
        "denoising", "the strategies of nilearn's load_confounds_strategy, from fMRIPrep's files beside each run"
    )
    options.add_argument("--strategy", choices=list(STRATEGIES))
    for name in ("motion", "wm-csf", "global-signal"):
        options.add_argument(f"--{name}", choices=WIDTHS)
    options.add_argument("--scrub", type=int, metavar="N", help="shorter segments between outliers are left out, too")
    options.add_argument("--fd-threshold", type=float, metavar="MM")
    options.add_argument("--std-dvars-threshold", type=float, metavar="X")
    options.add_argument("--compcor", choices=COMPCOR)
    options.add_argument("--n-compcor", type=number_or_all, metavar="N", help="components of each mask, or all")
    options.add_argument("--demean", action=argparse.BooleanOptionalAction, default=None)
    volumes = parser.add_argument_group("volumes that are left out, beside those of a strategy")
    volumes.add_argument("--drop-first", type=positive, metavar="N", help="the first volumes of each run")
    volumes.add_argument(
        "--leave-out-above",
        type=threshold,
        nargs="+",
        action="extend",
        metavar="COLUMN=VALUE",
        help="volumes for which a column of the confounds is above a value",
    )
    volumes.add_argument(
        "--sample-masks",
        nargs="+",
        default=(),
        metavar="VOLUMES",
        help="for each run the volumes that are kept, from 0 on, such as 0-56,61-199, or all",
    )
    volumes.add_argument(
        "--min-volumes", type=positive, metavar="N", help="if fewer of a run are kept, they are too few"
    )
    volumes.add_argument(
        "--too-few-volumes",
        choices=("error", "mark"),
        default="error",
        help="what to do then: an error (default), or a mark in the results",
    )


def add_mask_options(parser: argparse.ArgumentParser) -> None:
    """Add brain masks, and the coverage that a region must have."""
    parser.add_argument(
        "--masks",
        type=Path,
        nargs="+",
        default=(),
        help="brain masks, to whose common voxels the regions are restricted",
    )
    parser.add_argument(
        "--min-coverage",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="a region of which less lies in the image and holds data has a column of n/a (default: 0)",
    )


def number_or_all(word: str) -> int | str:
    """Read a number of at least 1, or ``all``."""
    return word if word == "all" else positive(word)


def threshold(word: str) -> tuple[str, float]:
    """Read a column and its threshold."""
    column, equals, value = word.rpartition("=")
    try:
        if column and equals:
            return column, float(value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("give COLUMN=VALUE, such as framewise_displacement=0.5")


def take_denoising(arguments: dict) -> dict:
    """Put the options of denoising into one entry, ``denoising``."""
    arguments["denoising"] = {name: arguments.pop(name) for name in DENOISING_OPTIONS}
    arguments["denoising"]["leave_out_above"] = dict(arguments["denoising"]["leave_out_above"] or ())
    return arguments
