#!/usr/bin/env python3
"""Run any command and record the memory of its process tree.

    python scripts/measure_memory.py --trace T.tsv --summary S.json -- COMMAND…

The exit status is that of the command, 128 + n if signal n ended it, 127 if it was not found, 126 if it cannot be
executed. Trace and summary are also written of a command that failed, unless they were to include what it says of itself.
"""

import argparse
import json
import logging
import math
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # this version's library, in any environment

from roistream.errors import UserError
from roistream.memory.measure import CommandStartError, Measurement, measure
from roistream.outputs import whole_file
from roistream.reporting import reporting

logger = logging.getLogger("roistream")

HINTS: dict[int, str] = {
    signal.SIGKILL: "; signal 9 usually is the out-of-memory killer",
    signal.SIGBUS: "; a file that it had mapped is shorter now or cannot be read, or no room was left in /dev/shm or on a disk",
}
"""What a signal usually means, for the reader."""


class _GivenUpError(Exception):
    """The command has failed: its outputs are given up."""


def measure_memory(
    command: Sequence[str],
    trace_file: str | Path,
    summary_file: str | Path,
    interval_s: float = 0.05,
    include_file: str | Path | None = None,
) -> int:
    """Run a command, write the trace and the summary of its memory, and log the peaks.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    trace_file : path
        TSV to write: a row per sample, columns ``time_s`` (since the start), ``pss_mib``, ``rss_mib``, ``shm_mib``.
    summary_file : path
        JSON to write: ``peak_pss_mib``, ``peak_rss_mib``, ``peak_shm_mib`` (null for a command too short to be
        looked at), ``wall_s``, and for a command that failed ``exit_status``.
    interval_s : float, default=0.05
        Pause between samples in seconds.
    include_file : path, optional
        JSON object with entries to put before those of the summary, read when the command has succeeded. A command that has
        failed leaves neither output then: they would look like those of one that has not.

    Returns
    -------
    int
        Exit status of the command, 128 + n if signal n ended it.

    Raises
    ------
    CommandStartError
        If the command was not found or cannot be executed.
    UserError
        If `include_file` is missing or holds no JSON object. Neither output is written then.
    """
    # Opened first: an hour of computing should not be lost to a folder that cannot be written.
    with suppress(_GivenUpError), whole_file(trace_file) as trace, whole_file(summary_file) as summary:
        trace.touch()
        summary.touch()
        measurement = measure(command, interval_s)
        if measurement.exit_status and include_file is not None:
            raise _GivenUpError
        entries = {
            "peak_pss_mib": _rounded(measurement.peak_pss_mib),
            "peak_rss_mib": _rounded(measurement.peak_rss_mib),
            "peak_shm_mib": _rounded(measurement.peak_shm_mib),
            "wall_s": _rounded(measurement.wall_s),
        }
        if measurement.exit_status:
            entries["exit_status"] = measurement.exit_status
        elif include_file is not None:
            entries = _read_object(include_file) | entries
        _write_trace(measurement, trace)
        summary.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    _log(command, measurement)
    return measurement.exit_status


def _write_trace(measurement: Measurement, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("time_s\tpss_mib\trss_mib\tshm_mib\n")
        for sample in measurement.samples:
            file.write(f"{sample.time_s:.3f}\t{sample.pss_mib:.3f}\t{sample.rss_mib:.3f}\t{sample.shm_mib:.3f}\n")


def _read_object(path: str | Path) -> dict:
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}, given by --include, does not exist: the command has not written it.") from None
    except ValueError as error:
        raise UserError(f"{path}, given by --include, is not valid JSON ({error}).") from None
    if not isinstance(entries, dict):
        raise UserError(f"{path}, given by --include, must hold a JSON object, not a {type(entries).__name__}.")
    return entries


def _rounded(number: float) -> float | None:
    """Three decimals; None, which JSON can tell, for NaN, which it cannot."""
    return None if math.isnan(number) else round(number, 3)


def _log(command: Sequence[str], measurement: Measurement) -> None:
    peaks = (
        f"peak PSS {measurement.peak_pss_mib:.1f} MiB, RSS {measurement.peak_rss_mib:.1f} MiB, "
        f"/dev/shm {measurement.peak_shm_mib:.1f} MiB"
    )
    if not measurement.samples:
        peaks = "too short for a look at its memory"
    status, wall = measurement.exit_status, f"{measurement.wall_s:.1f} s"
    if status == 0:
        logger.info("Memory of the command: %s; %s.", peaks, wall)
        return
    try:
        cause = f"was ended by {signal.Signals(status - 128).name} (exit status {status})"
    except ValueError:
        # The command has told why.
        logger.info("The command %s failed with exit status %d after %s, %s.", shortened(command), status, wall, peaks)
        return
    hint = HINTS.get(status - 128, "")
    logger.error("The command %s %s after %s, %s%s.", shortened(command), cause, wall, peaks, hint)


def shortened(command: Sequence[str], n: int = 3) -> str:
    """Word the beginning of a command; there may be hundreds of files in it."""
    return f"`{shlex.join(command[:n])}{' …' if len(command) > n else ''}`"


def _arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        usage="%(prog)s --trace T.tsv --summary S.json [--interval S] [--include FACTS.json] -- COMMAND...",
        description="Run any command and record the memory of its process tree.",
        epilog="The exit status is that of the command.",
    )
    parser.add_argument("--trace", required=True, help="TSV to write, a row per sample")
    parser.add_argument("--summary", required=True, help="JSON to write, with the peaks and the wall time")
    parser.add_argument(
        "--interval", type=_seconds, default=0.05, help="pause between samples in seconds (%(default)s)"
    )
    parser.add_argument("--include", help="JSON object, perhaps of the command, to put before the summary's entries")
    # Split by hand: what follows is the command's own, another "--" and all.
    split = argv.index("--") if "--" in argv else len(argv)
    options = parser.parse_args(argv[:split])
    command = list(argv[split + 1 :])
    if not command:
        parser.error("the command to measure is missing; give it after --")
    return options, command


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return seconds


if __name__ == "__main__":
    # Some programs start others with this signal ignored: the exit status of a child would be lost.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    options, command = _arguments(sys.argv[1:])
    with reporting():
        try:
            status = measure_memory(command, options.trace, options.summary, options.interval, options.include)
        except CommandStartError as error:
            logger.error("%s", error)
            status = error.exit_status
    sys.exit(status)
