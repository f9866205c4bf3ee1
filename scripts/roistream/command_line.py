"""Options that several programs share, and how to word options for them."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path


def options_of(options: Mapping[str, object]) -> str:
    """Word options as a part of a shell command.

    Parameters
    ----------
    options : mapping
        Values by the parameters' names: ``confound_columns`` becomes ``--confound-columns``. None and an empty list are left
        out; a truth value becomes ``--name`` or ``--no-name``, a list several words.

    Returns
    -------
    str
        The words, each quoted for a POSIX shell, with a blank between them.
    """
    words = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if value is None:
            continue
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
            continue
        values = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
        if any(str(inner).startswith("-") for inner in values):  # it would be taken for an option
            words += [f"{option}={inner}" for inner in values]
        elif values:
            words += [option, *map(str, values)]
    return shlex.join(words)


def add_log_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for what `roistream.reporting.reporting` takes."""
    parser.add_argument("--log", type=Path, metavar="FILE", help="file to write the messages to, beside stderr")


def positive(word: str) -> int:
    """Read a number of at least 1."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError("give a number of at least 1")
    return int(word)
