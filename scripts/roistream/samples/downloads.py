"""What the fetchers share: nilearn's downloads with one sentence for a failure, a sound cache, and links into it."""

import logging
import os
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import requests
from nilearn.datasets import get_data_dirs

from roistream.errors import UserError
from roistream.images.members import DamagedStreamError
from roistream.outputs import whole_file
from roistream.paths import check_file, why_unreadable

logger = logging.getLogger("roistream")

UNREADABLE = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    DamagedStreamError,
    UserError,
    ValueError,
    zlib.error,
)
"""What nibabel, the decompressors and our reader raise for a file that is no image or is damaged, beside `OSError`."""


def cache_folder(dataset: str, data_dir: str | None) -> Path:
    """Give the folder in which nilearn keeps a dataset, or is going to: the first that exists or can be made.

    Parameters
    ----------
    dataset : str
        nilearn's name of the dataset.
    data_dir : str or None
        nilearn's data folder; None for nilearn's default, which follows ``NILEARN_SHARED_DATA`` and ``NILEARN_DATA``.
    """
    folders = [Path(folder, dataset) for folder in get_data_dirs(data_dir)]
    existing = [folder for folder in folders if folder.is_dir()]
    return [*existing, *filter(can_be_made, folders), *folders][0]


def can_be_made(folder: Path) -> bool:
    """Tell whether a folder could be made: the nearest one above it that exists is writable."""
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    return above.is_dir() and os.access(above, os.W_OK)


@contextmanager
def fetching(what: str, url: str, remedy: str) -> Iterator[None]:
    """Run one of nilearn's fetchers: its warnings go to the log, its failures become one sentence each.

    Parameters
    ----------
    what : str
        What is fetched; begins the sentence.
    url : str
        Where from, if the failure itself does not tell.
    remedy : str
        What the user can do; ends the sentence.

    Raises
    ------
    UserError
        The server cannot be reached, refuses, breaks off or sends something else; or the cache cannot be used.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with unpacking_safely():
                yield
        except requests.RequestException as error:
            source = getattr(error.request, "url", url)
            raise UserError(
                f"{what} could not be fetched from {source} ({network_reason(error)}); {remedy}."
            ) from error
        except OSError as error:
            if error.errno is not None:  # a full disk or the like: the operating system's own sentence says it
                raise
            reason = one_line(str(error).partition(":\nURL: ")[0]).removeprefix("Fetching aborted: ")
            raise UserError(f"{what} could not be fetched from {url} ({reason}); {remedy}.") from error
        except (KeyError, ValueError) as error:
            raise UserError(f"{what} cannot be used as nilearn finds it ({one_line(error)}); {remedy}.") from error
        finally:
            for warning in caught:
                logger.info("nilearn: %s", one_line(warning.message))


@contextmanager
def unpacking_safely() -> Iterator[None]:
    """Let nilearn unpack nothing outside of its folder: no member with ``..``, no link that leads out, no device.

    nilearn looks at the names of members only. The filter that it leaves to Python's default is set here, as Python's
    documentation has it for programs. Python has no filter before 3.11.4: there no link and no device is unpacked at all.
    """
    replacement: Any
    if hasattr(tarfile, "data_filter"):
        name, replacement = "extraction_filter", staticmethod(tarfile.data_filter)
    else:
        name, replacement = "extractall", extract_plain
    before = vars(tarfile.TarFile)[name]
    setattr(tarfile.TarFile, name, replacement)
    try:
        yield
    finally:
        setattr(tarfile.TarFile, name, before)


EXTRACT_ALL = tarfile.TarFile.extractall


def extract_plain(archive: tarfile.TarFile, *arguments: Any, **options: Any) -> None:
    """Unpack an archive that holds nothing but files and folders.

    Raises
    ------
    tarfile.TarError
        A member is something else.
    """
    for member in archive.getmembers():
        if not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name!r} is neither a file nor a folder")
    EXTRACT_ALL(archive, *arguments, **options)


def network_reason(error: requests.RequestException) -> str:
    """Say in a few words why a download failed; requests and urllib3 wrap the reason in several exceptions."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off before the end of the file"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):  # amid a body it comes as another exception
        return "the server does not answer in time"
    innermost: BaseException = error
    while inner := next((part for part in wrapped(innermost) if isinstance(part, BaseException)), None):
        innermost = inner
    return one_line(innermost).rsplit(": ", 1)[-1]


def wrapped(error: BaseException) -> tuple[object, ...]:
    """List where an exception of requests or urllib3 may keep the one that caused it."""
    return (getattr(error, "reason", None), getattr(error, "original_error", None), *error.args)


def one_line(error: object) -> str:
    """Give a message without its line breaks."""
    return " ".join(str(error).split())


@contextmanager
def checking(path: Path, fetched_now: bool, url: str, cache: str = "nilearn's cache") -> Iterator[None]:
    """Check a file of a cache: a `ValueError` of the enclosed code says what is wrong with it.

    A file that was there before is the user's: the error names it and asks to delete it. A file that the present call
    has brought is removed, since it would be taken for good the next time.

    Parameters
    ----------
    path : path
        The file.
    fetched_now : bool
        Whether the present call has brought it.
    url : str
        Where from.
    cache : str
        What messages call the cache.

    Raises
    ------
    UserError
        The file is not what it should be.
    """
    try:
        yield
    except ValueError as problem:
        if not fetched_now:
            raise UserError(f"{path} {problem}; delete this file from {cache} and run again.") from problem
        path.unlink()
        raise UserError(
            f"{path} {problem} and was removed from {cache}; run again, and if that does not help, "
            f"ask those who offer {url}."
        ) from problem


@contextmanager
def finding_damage(path: Path) -> Iterator[None]:
    """Word what is wrong with an image of the cache that the enclosed code reads.

    An error of the system, such as no permission or a failing disk, says nothing of the content and asks nobody to delete it.

    Raises
    ------
    ValueError
        The content is damaged, or no image; see `checking`.
    UserError
        It cannot be read.
    """
    check_file(path)
    try:
        yield
    except EOFError:
        raise ValueError("is cut off before its end") from None
    except (OSError, *UNREADABLE) as error:
        cause = error.__cause__ if isinstance(error, UserError) else error
        if isinstance(cause, OSError) and cause.errno is not None:
            raise UserError(why_unreadable(path, cause)) from error
        raise ValueError(f"is damaged or no image ({one_line(error)})") from error


def place_link(target: str | Path, link: Path) -> None:
    """Make `link` a symbolic link to a file of the cache, with its absolute path.

    Where the cache *is* the place asked for, the file stays as it is: a link would take its place and point to itself.
    """
    target = Path(target).absolute()
    if link.parent.resolve() / link.name == target.resolve():
        return
    with whole_file(link) as partial:
        partial.unlink(missing_ok=True)
        partial.symlink_to(target)
