"""The memory of a command and of all its children, measured from outside.

The measured command is a child process and nothing of the measuring one is counted: no forked monitor, no image or
worker that an earlier measurement left behind. PSS (proportional set size) counts a page that six processes share
once; RSS (resident set size) counts it six times. Neither sees a file under /dev/shm that no process has mapped,
therefore its growth is recorded beside them.
"""

import functools
import logging
import math
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import memory_profiler
import psutil

from roistream.errors import UserError
from roistream.memory.ending import end, guard, status_of

logger = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class CommandStartError(UserError):
    """The command could not be started; `exit_status` is what a shell would give (127 not found, 126 otherwise)."""

    def __init__(self, message: str, exit_status: int):
        super().__init__(message)
        self.exit_status = exit_status


@dataclass(frozen=True)
class Sample:
    """The memory of a process tree at one moment.

    Attributes
    ----------
    time_s : float
        Seconds since the command was started.
    pss_mib, rss_mib : float
        PSS and RSS in MiB, each the sum over the same processes.
    shm_mib : float
        Growth of the used part of /dev/shm since before the start, in MiB, by whomever; 0 where it has shrunk.
    """

    time_s: float
    pss_mib: float
    rss_mib: float
    shm_mib: float


@dataclass(frozen=True)
class Measurement:
    """What was seen of a command from its start to its end.

    Attributes
    ----------
    samples : tuple of Sample
        In order of time. Empty if the command had ended before the first look at it (within about a millisecond).
    wall_s : float
        Seconds from the start of the command until it was reaped.
    exit_status : int
        As a shell gives it: 128 + n if signal n ended the command, or came to end the measurement.
    """

    samples: tuple[Sample, ...]
    wall_s: float
    exit_status: int

    @property
    def peak_pss_mib(self) -> float:
        """The largest PSS in MiB, NaN without a sample."""
        return max((sample.pss_mib for sample in self.samples), default=math.nan)

    @property
    def peak_rss_mib(self) -> float:
        """The largest RSS in MiB, NaN without a sample."""
        return max((sample.rss_mib for sample in self.samples), default=math.nan)

    @property
    def peak_shm_mib(self) -> float:
        """The largest growth of /dev/shm in MiB, NaN without a sample."""
        return max((sample.shm_mib for sample in self.samples), default=math.nan)


def measure(command: Sequence[str], interval_s: float = 0.05) -> Measurement:
    """Run a command once and sample the memory of its process tree until it ends.

    The tree is the command and the descendants that can be reached from it; its standard streams are the caller's.
    SIGTERM and SIGINT to the measuring process end it: after one second SIGTERM to whoever is left, after four more
    SIGKILL. If the measuring process dies the tree is killed. What a command that was killed leaves running is ended
    too: a variable in its environment marks it, as the children of the dead cannot be found otherwise.

    Parameters
    ----------
    command : sequence of str
        The program, looked up on ``PATH``, and its arguments.
    interval_s : float, default=0.05
        Pause between samples in seconds; at least as long as the sample before it took (13 ms per GiB of RSS).

    Returns
    -------
    Measurement
        Also of a command that failed or was killed.

    Raises
    ------
    CommandStartError
        If the command was not found or cannot be executed.
    UserError
        If the system is not Linux.

    Examples
    --------
    >>> from roistream import measure
    >>> measure(["sleep", "0.3"]).peak_pss_mib < 100
    True
    """
    if sys.platform != "linux":
        raise UserError(f"Memory can be measured on Linux only; {sys.platform} does not tell the PSS of a process.")
    shm_before_mib = _shm_used_mib()
    samples: list[Sample] = []
    stopped_by = None
    mark = f"ROISTREAM_MEASURED_{uuid.uuid4().hex}"
    with guard(mark):
        start_s = awake_s = time.monotonic()
        process = _start(command, mark)
        root = psutil.Process(process.pid)
        # Just started it has no children: a short program is not kept waiting for the list of all processes.
        tree = [root]
        with _held_back(signal.SIGCHLD, *_STOP_SIGNALS) as signals:
            while process.poll() is None:
                time_s = time.monotonic() - start_s
                if memory := _tree_memory_mib(tree):
                    samples.append(Sample(time_s, *memory, max(0.0, _shm_used_mib() - shm_before_mib)))
                # Instead of a sleep: the end of the command and a request to stop are seen at once.
                received = signal.sigtimedwait(signals, max(interval_s, time.monotonic() - awake_s))
                awake_s = time.monotonic()
                if received is None:
                    found = [root, *root.children(recursive=True)]
                    # The children of a root that has ended meanwhile cannot be found; keep those known.
                    tree = found if process.poll() is None else tree
                elif received.si_signo in _STOP_SIGNALS:
                    # Other numbers are none: Python makes them up when this process is stopped and continued (Ctrl-Z).
                    stopped_by = received.si_signo
                    end(tree, mark)
            wall_s = time.monotonic() - start_s
            if process.returncode < 0:
                end(tree, mark)
            while stopped_by and signal.sigtimedwait(signals, 0):
                pass  # A request to stop often comes twice (the program timeout, an impatient user).
    ended_by = stopped_by or max(0, -process.returncode)
    return Measurement(tuple(samples), wall_s, 128 + ended_by if ended_by else process.returncode)


def _start(command: Sequence[str], mark: str) -> subprocess.Popen:
    """Start `command`; when this returns it has replaced the copy of the calling program that forking makes."""
    try:
        return subprocess.Popen(command, env=os.environ | {mark: "1"})
    except FileNotFoundError:
        raise CommandStartError(f"The command '{command[0]}' was not found; check its name and PATH.", 127) from None
    except OSError as error:
        raise CommandStartError(f"The command '{command[0]}' cannot be executed: {error.strerror}.", 126) from None


def _tree_memory_mib(tree: list[psutil.Process]) -> tuple[float, float] | None:
    """Sum PSS and RSS in MiB over those processes of `tree`, parents first, that live; None if there are none.

    Every process is looked at by itself, because memory_profiler's ``include_children`` drops all the remaining
    children at the first one that has just ended. The looks at PSS take time, and meanwhile processes begin and cease
    to share pages. Workers attach to what their parents hold: if a parent were looked at before them, a page would
    count in full for it and once more in part for them. What workers have given up since is told by their RSS, looked
    at in the end and quickly, which at one moment is never below PSS.
    """
    pss_mib = {process.pid: _memory_mib(process.pid, "psutil_pss") for process in reversed(tree)}
    # Between vfork and exec a child runs in the memory of its parent, which the kernel suspends (as "disk sleep")
    # until then: it would double the parent. It is known by an RSS that equals the parent's to the page.
    suspended = {process.pid for process in tree if status_of(process) == psutil.STATUS_DISK_SLEEP}
    rss_mib = {process.pid: _memory_mib(process.pid, "psutil") for process in tree}
    counted = []
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            pid, parent = process.pid, process.ppid()
            borrowed = parent in suspended and rss_mib[pid] == rss_mib[parent]
            if pss_mib[pid] and rss_mib[pid] and not borrowed:
                counted.append(pid)
    sums = sum(min(pss_mib[pid], rss_mib[pid]) for pid in counted), sum(rss_mib[pid] for pid in counted)
    return sums if counted else None


def _memory_mib(pid: int, backend: str) -> float:
    """Give the memory of one process in MiB; 0 if it has ended, also as a zombie, or may not be read."""
    try:
        mib = memory_profiler.memory_usage(pid, interval=0, backend=backend)[0]
    except (psutil.NoSuchProcess, FileNotFoundError):
        return 0.0
    if mib is None:
        _warn_unreadable(pid)
        return 0.0
    return mib


@functools.cache  # One warning for a process, not one for every sample.
def _warn_unreadable(pid: int) -> None:
    logger.warning("Process %d is not counted: this user may not read its memory.", pid)


def _shm_used_mib() -> float:
    """Give the used part of /dev/shm in MiB, 0 where there is none."""
    with suppress(FileNotFoundError):
        shm = os.statvfs("/dev/shm")
        return (shm.f_blocks - shm.f_bfree) * shm.f_frsize / 2**20
    return 0.0


@contextmanager
def _held_back(*signals: signal.Signals) -> Iterator[set[signal.Signals]]:
    """Keep `signals` waiting for ``sigtimedwait``, and give those of them that the process does not ignore."""
    watched = {number for number in signals if signal.getsignal(number) is not signal.SIG_IGN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        yield watched
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
