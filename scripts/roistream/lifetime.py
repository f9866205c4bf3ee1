"""A job ends with the workflow that started it, however that died: nobody waits any more for what it would write.

The workflow says in the environment of its jobs which process it is. On a cluster that is the one that runs the job on its node.
"""

import logging
import os
import resource
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

logger = logging.getLogger("roistream")

STARTED_BY = "ROISTREAM_STARTED_BY"
"""The variable: a process, and the numbering of processes in which it has that number."""


def this_process() -> str:
    """Give what the variable has to hold for the jobs of this process; nothing where processes cannot be waited for."""
    with suppress(OSError):
        return f"{os.getpid()}:{numbering()}" if hasattr(os, "pidfd_open") else ""
    return ""


def numbering() -> int:
    """Tell which numbering of processes holds here: a container may have its own."""
    return Path("/proc/self/ns/pid").stat().st_ino


@contextmanager
def ending_with_starter() -> Iterator[None]:
    """Let SIGTERM end the enclosed code by an exception, so that it clears up; and send it when the starter has died."""
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        watch_starter()
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end(number: int, _: FrameType | None) -> None:
    """Answer a signal."""
    logger.error("Ended by %s.", signal.Signals(number).name)
    raise SystemExit(128 + number)


def watch_starter() -> None:
    """Start a thread that waits for the death of the process that started this one.

    Not where address space is limited: a thread takes some 140 MiB of it, though next to no memory.
    """
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return
    pid, _, its_numbering = os.environ.get(STARTED_BY, "").partition(":")
    with suppress(OSError):
        if not pid.isdecimal() or its_numbering != str(numbering()):
            return
        try:
            starter = os.pidfd_open(int(pid))
        except ProcessLookupError:  # died already
            os.kill(os.getpid(), signal.SIGTERM)
            return
        # The thread takes no signal that another one waits for.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=wait_for_end, args=(starter,), daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def wait_for_end(process: int) -> None:
    """Wait until a process has ended, and end this one."""
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    waiting.poll()
    logger.error("The workflow that started this job has died.")
    os.kill(os.getpid(), signal.SIGTERM)
