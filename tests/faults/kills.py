"""Processes that are killed at a random moment, as the out-of-memory killer or an impatient user does it."""

import os
import secrets
import signal
import time
from contextlib import suppress

from faults.machine import command_line
from workflow.conftest import finish

KINDS = {
    "worker": ("loky.backend.popen_loky_posix",),
    "extraction": ("/extract_regions.py", "/extract_timeseries.py"),
    "measure": ("/measure_memory.py",),
    "snakemake": (" snakemake ", "/snakemake/__main__.py"),
}
"""Who may be killed, by what the command line holds."""


def seed_of(variable="ROISTREAM_SEED"):
    """Give the seed of the random moments: the variable's, to do the same again, or a new one; it is printed."""
    seed = int(os.environ.get(variable) or secrets.randbits(32))
    print(f"{variable}={seed}", flush=True)
    return seed


def kind_of(pid):
    """Tell what kind of process one is; None for another."""
    line = command_line(pid)
    marks = {mark: kind for kind, words in KINDS.items() for mark in words}
    found = [kind for mark, kind in marks.items() if mark in line]
    # measure_memory.py has the command that it measures among its arguments.
    return "measure" if "measure" in found else found[0] if found else None


def kill_one(place, rng, kinds=tuple(KINDS)):
    """Kill a process of one of these kinds that runs there, if any; tell which kind it was.

    All kinds that are there are as likely, however many processes there are of each.
    """
    found = {}
    for pid in place.processes():
        found.setdefault(kind_of(pid), []).append(pid)
    there = [kind for kind in kinds if kind in found]
    if not there:
        return None
    kind = there[rng.integers(len(there))]
    with suppress(ProcessLookupError):
        os.kill(found[kind][rng.integers(len(found[kind]))], signal.SIGKILL)
        return kind
    return None


def run_and_kill(place, command, rng, duration_s, cwd=None, kinds=tuple(KINDS), killing=kill_one):
    """Start a command, and kill one of its processes at a random moment of the time that it would take.

    Gives who was killed, when, and how the command ended.
    """
    moment_s = rng.uniform(0, duration_s)
    process = place.start(command, cwd)
    time.sleep(moment_s)
    killed = killing(place, rng, kinds)
    return killed, moment_s, finish(process)
