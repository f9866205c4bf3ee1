"""The end of a measured command's processes, also when the measuring process is gone."""

import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from signal import SIGKILL, SIGTERM

import psutil

# Seconds to wait, then the signal to whoever is left. At first only a wait: a terminal's Ctrl-C and most batch systems
# signal the whole tree themselves, and a second signal could hit a program amid its clean-up.
_ENDING = ((1.0, SIGTERM), (4.0, SIGKILL))

TRACKER = "resource_tracker"
"""In the command line of those processes of Python and joblib that remove shared memory when its users have ended."""

# Reads two lines: the mark of a tree, and a farewell. Without a farewell the measuring process died: all that bear the mark
# are killed until none is found, as some may start others meanwhile. PR_SET_PDEATHSIG would reach the root alone.
_GUARD = f"""
read -r mark && ! read -r farewell || exit 0
while true; do
    killed=
    for path in $(grep -lsz "^$mark=" /proc/[0-9]*/environ); do
        process=${{path%/environ}}
        grep -qs {TRACKER} "$process/cmdline" || {{ kill -KILL "${{process#/proc/}}"; killed=yes; }}
    done
    [ "$killed" ] || exit 0
    sleep 0.05
done
"""


@contextmanager
def guard(mark: str) -> Iterator[None]:
    """Let a process watch this one, and kill all that have `mark` in their environment unless this ends well."""
    watching = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # out of reach of what is sent to the group of the measuring process
    )
    pipe = watching.stdin
    assert pipe is not None
    try:
        pipe.write(f"{mark}\n".encode())
        yield
        with suppress(BrokenPipeError):
            pipe.write(b"farewell\n")
    finally:
        pipe.close()
        watching.wait()


def end(tree: Iterable[psutil.Process], mark: str) -> None:
    """Let `tree` and all that bear `mark` end, by force if need be; parents first, as some replace lost children."""
    for patience_s, number in _ENDING:
        deadline_s = time.monotonic() + patience_s
        while (tree := living([*tree, *marked(mark)])) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                if not any(TRACKER in word for word in process.cmdline()):
                    process.send_signal(number)


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Give those of `processes` that have not ended, and their descendants, each parent before its children."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if status_of(process) != psutil.STATUS_ZOMBIE:
                found += [process, *process.children(recursive=True)]
    return list(dict.fromkeys(found))


def marked(mark: str) -> Iterator[psutil.Process]:
    """Find the processes in whose environment `mark` is, also those whose parents are gone."""
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if mark in process.environ():
                yield process


def status_of(process: psutil.Process) -> str:
    """Give the state of a process, a zombie's if it is gone."""
    with suppress(psutil.NoSuchProcess):
        return process.status()
    return psutil.STATUS_ZOMBIE
