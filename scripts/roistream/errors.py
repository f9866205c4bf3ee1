"""The exceptions for mistakes that a user can mend."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in the input, told in one sentence; where many are found at once, a line for each follows.

    The message names the file or config key, says what is wrong with it and what to do. Programs print it without a
    traceback and exit with status 1 (see `roistream.reporting`).
    """


class SeveralError(UserError):
    """Several mistakes that are told at once, each as an error of its own."""

    def __init__(self, messages: Sequence[str]):
        super().__init__("\nERROR: ".join(messages))


@contextmanager
def noted(problems: list[str]) -> Iterator[None]:
    """Add a user's mistake to those that are known already, instead of stopping there."""
    try:
        yield
    except UserError as error:
        problems.append(str(error))
