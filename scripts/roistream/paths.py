"""What a path leads to: why it cannot be read, and whether two of them are the same file.

A path is a name, never a pattern, and there may be anything behind it: a link whose content was not fetched, a folder, a pipe.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from roistream.errors import UserError

POINTERS = {
    b"version https://git-lfs": "Git LFS; fetch the content (git lfs pull)",
    b"/annex/objects/": "git-annex; fetch the content (datalad get, git annex get)",
}
"""What is in the first line of small files that stand for others which have not been fetched, and what they are."""

MAX_POINTER_BYTES = 2**15

KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def check_file(path: str | Path, what: str = "") -> None:
    """Refuse a path that leads to no readable file, before anything is opened: opening a pipe waits for ever.

    Parameters
    ----------
    path : path
        The file.
    what : str
        What messages call it.

    Raises
    ------
    UserError
        There is no file, this user may not read it, it is something else, or only a pointer to a content elsewhere.
    """
    path = Path(path)
    try:
        status = path.stat()
        for is_kind, kind in KINDS.items():
            if is_kind(status.st_mode):
                raise UserError(f"{what}{shown(path)} is {kind}; give a file.")
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if status.st_size <= MAX_POINTER_BYTES:
            with path.open("rb") as stream:
                start = stream.read(64)
            for part, origin in POINTERS.items():
                if part in start:
                    raise UserError(f"{what}{shown(path)} is not the content but a pointer of {origin}.")
    except (OSError, ValueError) as error:
        raise UserError(f"{what}{why_unreadable(path, error)}") from error


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn an error of the system while a file is read, which often does not name it, into a sentence that does."""
    try:
        yield
    except OSError as error:
        raise UserError(why_unreadable(Path(path), error)) from error


def why_unreadable(path: Path, error: Exception) -> str:
    """Word why a path could not be looked at."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENOTDIR):
        for part in (*reversed(path.parents), path):
            if part.is_symlink() and not part.exists():
                return leads_nowhere(path, part)
            if part != path and part.is_file():
                return f"{shown(path)} does not exist, {part} is a file; check the path."
        return f"{shown(path)} does not exist; check the path."
    if number in (errno.EACCES, errno.EPERM):
        return f"{shown(path)} may not be read by this user; change the permissions of the file or of its folders."
    if number == errno.ELOOP:
        return f"{shown(path)} is a link that leads back to itself; correct it."
    if number == errno.ENAMETOOLONG:
        return f"{shown(path)} is too long for a path; check it."
    if number is None:
        return f"{shown(path)} cannot be a path ({error}); check it."
    return (
        f"{shown(path)} could not be read: {getattr(error, 'strerror', None) or error} (errno {number}). The disk, the network "
        "or the file system failed, which says nothing of the content; check them, and try again."
    )


def leads_nowhere(path: Path, link: Path) -> str:
    """Word that `path`, or a folder on its way, is a link whose target is not there."""
    target = link.readlink()
    which = "is a link" if link == path else f"does not exist: {link} is a link"
    if "annex" in target.parts or ".git" in target.parts:
        return (
            f"{shown(path)} {which} of git-annex whose content was not fetched; fetch it (datalad get, git annex get)."
        )
    return f"{shown(path)} {which} to {target}, which is not there; fetch the content, or correct the link."


def shown(path: Path, longest: int = 300) -> str:
    """Word a path for a message: in one line, and not longer than a reader needs."""
    text = str(path)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def identity(path: str | Path) -> Hashable:
    """Give what is the same for all names of a file: links of any kind, other spellings, other mounts."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return os.path.abspath(path)  # noqa: PTH100 (there is nothing that could be resolved)
    # Some network file systems number no files.
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def absolute(path: str | Path) -> Path:
    """Make a path absolute, without ``..``; links stay, for the places behind them may have other names tomorrow."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (Path.resolve follows links)


def brace_free(path: str | Path, links: str | Path) -> str:
    """Give a path to a file that has no braces, which Snakemake would take for wildcards.

    Parameters
    ----------
    path : path
        The file.
    links : path
        A folder for links to files that have no such path.

    Returns
    -------
    str
        The path as it is, or from the working directory, or that of a link; none changes with the next call.
    """
    path = str(path)
    if "{" not in path:
        return path
    relative = os.path.relpath(path)
    if "{" not in relative:
        return relative
    name = re.sub(r"[{}]", "_", Path(path).name)
    link = Path(links, hashlib.sha256(os.fsencode(absolute(path))).hexdigest()[:16], name)
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(absolute(path))
        with suppress(OSError):  # as old as the file: a newer input would be a reason to run again
            made = link.stat()
            os.utime(link, ns=(made.st_atime_ns, made.st_mtime_ns), follow_symlinks=False)
    return str(link)


def as_argument(path: Path) -> Path:
    """Give a path that no program takes for an option: one that begins with a dash is made absolute."""
    return absolute(path) if str(path).startswith("-") else path
