"""The one exception for mistakes that a user can mend."""

from collections.abc import Iterable
from types import TracebackType


class UserError(Exception):
    """A mistake in the input, told in one sentence; where many are found at once, a line for each follows.

    The message names the file or config key, says what is wrong with it and what to do. Programs print it without a
    traceback and exit with status 1 (see `roistream.reporting`).

    Examples
    --------
    >>> from roistream import UserError, inspect
    >>> try:
    ...     inspect("nowhere.nii.gz")
    ... except UserError as error:
    ...     print(error)
    nowhere.nii.gz does not exist; check the path.
    """


class Problems:
    """Mistakes in several inputs, which are told together.

    Each input is looked at in a ``with`` block of its own, which a `UserError` ends; `tell` raises one for all of them.
    """

    def __init__(self, found: Iterable[str] = ()) -> None:
        self.found = list(found)

    def __enter__(self) -> "Problems":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, UserError):
            self.found.append(str(error))
        return isinstance(error, UserError)

    def tell(self) -> None:
        """Raise what has been found, if anything."""
        if self.found:
            raise UserError("\nERROR: ".join(self.found))
