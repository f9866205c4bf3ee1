"""Options that several programs share, and how to word options for them."""

import argparse
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
    parser.add_argument("--image", required=True, type=Path, help="4D NIfTI")
    parser.add_argument("--masks", required=True, type=Path, nargs="+", help="binary masks on the image's grid")
    parser.add_argument("--n-jobs", type=positive, default=1, help="parallel workers (default: 1)")
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
    for name in ("smoothing_fwhm", "low_pass", "high_pass", "t_r"):
        if arguments[name] is not None and not arguments[name] > 0:
            parser.error(f"argument --{name.replace('_', '-')}: give a number above 0")
    if arguments["low_pass"] and arguments["high_pass"] and arguments["low_pass"] <= arguments["high_pass"]:
        parser.error("argument --low-pass: give a frequency above --high-pass")
    arguments["cleaning"] = {name: arguments.pop(name) for name in CLEANING_OPTIONS}
    return arguments
