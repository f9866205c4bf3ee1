"""The soak: both targets time after time, each time a process killed at a random moment, and continued to the end.

make soak                                  20 times each
python tests/soak.py --times 5             (with scripts/ and tests/ on PYTHONPATH)

Every trial must end with the results of an undisturbed run, leave nothing in /dev/shm or among the temporary files and no
process; and no file may stay open. The seed is printed; ROISTREAM_SEED does the same again.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from faults.kills import seed_of
from faults.machine import machine
from faults.workflows import TARGETS, assert_trial, make_reference


def open_files():
    """Count the open files of this computer."""
    return int(Path("/proc/sys/fs/file-nr").read_text().split()[0])


def soak(target, times, folder, rng):
    """Kill and continue a target so many times; print what happened, and a line that sums it up."""
    with machine(folder / "machine") as place:
        reference = make_reference(place, target, folder)
        print(f"{target}: {len(reference.results)} results, {reference.duration_s:.1f} s undisturbed", flush=True)
        before, killed, seconds = open_files(), Counter(), []
        for number in range(1, times + 1):
            begin = time.monotonic()
            trial = assert_trial(place, reference, folder / str(number), rng)
            seconds.append(time.monotonic() - begin)
            killed[trial.killed or "nobody"] += 1
            print(
                f"{target} {number}: {trial.killed or 'nobody'} killed after {trial.moment_s:.1f} s, {trial.n_results} results "
                f"whole by then, all the same in the end; {open_files()} files open",
                flush=True,
            )
            shutil.rmtree(folder / str(number))
        victims = ", ".join(f"{kind} {number}" for kind, number in sorted(killed.items()))
        print(
            f"{target}: {times} of {times} ended equal ({victims}); {statistics.median(seconds):.0f} s a trial; open files "
            f"{before} before, {open_files()} after; /dev/shm and temporary files empty after each",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kill and continue both targets time after time.")
    parser.add_argument("--times", type=int, default=20, help="trials for each target (default: 20)")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS), help="default: both")
    arguments = parser.parse_args()
    generator = np.random.default_rng(seed_of())
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        for wanted in arguments.targets:
            soak(wanted, arguments.times, Path(scratch) / wanted, generator)
    sys.exit(0)
