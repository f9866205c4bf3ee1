"""Options that several programs share, and how to word options for them."""

import argparse
import hashlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from roistream.outputs import whole_file
from roistream.paths import why_unreadable

LONGEST_BYTES = 2**15
"""Of one list of options; a command has several, and other words beside them."""


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
    return shlex.join(words_of(options))


def options_within_limits(options: Mapping[str, object], folder: str | Path) -> str:
    """Word options as `options_of`, by a file if they are too long for a command: the system takes 128 KiB in one piece.

    Parameters
    ----------
    options : mapping
        See `options_of`; a few thousand volumes are many paths.
    folder : path
        Where the file is to lie. It is named after its content, so that the same options are the same words.

    Returns
    -------
    str
        What a program understands that reads its command line by `parse`.
    """
    words = words_of(options)
    text = "".join(f"{word}\n" for word in words)
    if len(os.fsencode(text)) < LONGEST_BYTES or text.count("\n") > len(words):
        return shlex.join(words)
    file = Path(folder, f"{hashlib.sha256(os.fsencode(text)).hexdigest()[:16]}.txt")
    if not file.exists():
        with whole_file(file) as partial:
            partial.write_bytes(os.fsencode(text))
    return shlex.join(["--arguments", str(file)])


def words_of(options: Mapping[str, object]) -> list[str]:
    """List the words of `options_of`."""
    words: list[str] = []
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
    return words


def parse(parser: argparse.ArgumentParser) -> dict:
    """Parse the command line, in which ``--arguments FILE`` stands for the lines of a file, each an argument."""
    parser.add_argument("--arguments", metavar="FILE", help="file with more arguments, each in a line of its own")
    words: list[str] = []
    for word in sys.argv[1:]:
        if words[-1:] != ["--arguments"]:
            words.append(word)
            continue
        try:
            words[-1:] = os.fsdecode(Path(word).read_bytes()).removesuffix("\n").split("\n")
        except OSError as error:
            parser.error(f"argument --arguments: {why_unreadable(Path(word), error)}")
    arguments = vars(parser.parse_args(words))
    del arguments["arguments"]
    return arguments


def add_log_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for what `roistream.reporting.reporting` takes."""
    parser.add_argument("--log", type=Path, metavar="FILE", help="file to write the messages to, beside stderr")


def positive(word: str) -> int:
    """Read a number of at least 1."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError("give a number of at least 1")
    return int(word)
