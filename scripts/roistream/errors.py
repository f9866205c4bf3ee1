"""The one exception for mistakes that a user can mend."""


class UserError(Exception):
    """A mistake in the input, told in one sentence; where many are found at once, a line for each follows.

    The message names the file or config key, says what is wrong with it and what to do. Programs print it without a
    traceback and exit with status 1 (see `roistream.reporting`).

    Examples
    --------
    >>> from roistream import inspect
    >>> try:
    ...     inspect("nowhere.nii.gz")
    ... except UserError as error:
    ...     print(error)
    nowhere.nii.gz does not exist; check the path.
    """
