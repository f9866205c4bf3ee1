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
