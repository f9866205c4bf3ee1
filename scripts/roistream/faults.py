"""What a machine does to a program, in one sentence each: no space, no memory, nothing may be written, a worker was killed."""

import errno
import os
import re
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from pathlib import Path
from pickle import PicklingError

MORE_MEMORY = "use the strategy 'stream', fewer jobs, or a machine with more"

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The system's numbers for a full disk, and for the end of a user's share of it."""


def sentence_of(error: BaseException) -> str | None:
    """Word a fault of the machine; None for anything else, which is a defect of the program."""
    if isinstance(error, BrokenExecutor):
        return tell_broken_worker(str(error))
    if isinstance(error, PicklingError) and f"[Errno {errno.ENOSPC}]" in str(error.__cause__):
        return tell_full_disk(None)  # of joblib, which lays down in a file what it hands to its workers
    if isinstance(error, MemoryError):
        return f"Not enough memory{f' ({error})' if str(error) else ''}; {MORE_MEMORY}."
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        name = ascii(error.object[max(0, error.start - 30) : error.end + 30])
        return f"A name of a file or folder is not in UTF-8 ({name}); rename it, a table cannot hold it."
    if not isinstance(error, OSError):
        return None
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{error.filename} is a file, where a folder is needed; move it away, or choose another place."
    if error.errno == errno.ENOMEM:
        return f"Not enough memory; {MORE_MEMORY}."
    if error.errno in FULL:
        return tell_full_disk(error.filename)
    if error.errno == errno.EROFS:
        return f"{error.filename} cannot be written, its file system is read-only; work in another folder, or make it writable."
    return " ".join(str(error).split())  # nibabel's go over two lines


def tell_broken_worker(message: str) -> str:
    """Word the end of a worker; joblib's message tells of the signals."""
    signals = set(re.findall(r"(SIG[A-Z]+)\(-", message)) - {"SIGKILL", "SIGTERM"}
    if "SIGBUS" in signals:
        return (
            "A worker was ended by SIGBUS: a file that it had mapped has become shorter or could not be read, or there is no "
            f"room left in {free_space()}; see to that, and run again."
        )
    if signals:
        return f"A worker was ended by {' and '.join(sorted(signals))}; run again, and report it if that comes again."
    return f"A worker was killed, most likely because memory ran out; {MORE_MEMORY}."


def tell_full_disk(path: str | bytes | None) -> str:
    """Word that there is no room left for a file, or for one of those that have no name for the user."""
    if path is not None:
        return f"No space is left on the disk of {os.fsdecode(path)}; make room there, or work in another folder, and run again."
    return (
        f"No space is left in {free_space()}; make room, or set TMPDIR to a folder that has more, and run again "
        "(the strategy 'stream' needs neither shared memory nor temporary files)."
    )


def free_space() -> str:
    """List the places in which programs keep what they share or need for a while, and how much is free there now."""
    import shutil
    import tempfile

    places = ["/dev/shm"]
    with suppress(OSError):
        places.append(tempfile.gettempdir())
    return " or ".join(
        f"{place} ({shutil.disk_usage(place).free / 2**20:,.0f} MiB free)" for place in places if Path(place).is_dir()
    )
