"""Measure speed and memory of the strategies and of the workflow's other parts, against the bars they must hold.

    python -m benchmarks --out docs      (or: make benchmark)

Every figure comes from a fresh process that `roistream.memory.measure` watches from outside. Each experiment below is
a function that gives the runs of its commands; `benchmarks.report` knows the bars and words the report.

This program itself must not load numpy and the like before everything is measured: a page of a library that two
processes use counts for each of them by half, and the measured ones would look smaller than they are.
"""

import argparse
import datetime
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import psutil

from benchmarks import comparison, prediction, steps, studies
from benchmarks.bench import Bench, describe_machine
from benchmarks.command_line import bench_of, parse, parser_of
from benchmarks.data import Data, prepare
from roistream.errors import UserError
from roistream.outputs import whole_file
from roistream.reporting import reporting

EXPERIMENTS = (
    studies.label_means,
    studies.label_cleaning,
    studies.series,
    studies.study,
    studies.dry_runs,
    comparison.strategies,
    comparison.growth,
    comparison.cleaning,
    comparison.concatenation,
    prediction.prediction,
    comparison.address_space,
    steps.steps,
)


def check_memory(bench: Bench, data: Data) -> None:
    """Refuse to start what the out-of-memory killer would end."""
    needed, available = bench.size.n_jobs * 2.3 * data.mib, psutil.virtual_memory().available / 2**20
    if needed > available:
        raise UserError(
            f"NiftiMasker with {bench.size.n_jobs} jobs needs about {needed:,.0f} MiB, but only {available:,.0f} are available; "
            "end other programs, or use a larger machine."
        )


def benchmark(workdir: Path, out: Path, repeats: int, quick: bool) -> None:
    """Prepare the data, run all experiments and write the report.

    Parameters
    ----------
    workdir : path
        Where data and results lie; data are kept for the next time.
    out : path
        Folder for ``benchmark.json``, ``.md``, ``.png`` and ``.svg``.
    repeats : int
        How often everything is measured.
    quick : bool
        A trial of this program: 6 volumes of each subject, measured once.

    Raises
    ------
    UserError
        The data cannot be made, memory does not suffice, or a command failed that must not.
    """
    bench = bench_of(workdir, repeats, quick)
    data = prepare(bench)
    check_memory(bench, data)
    results = {
        "quick": quick,
        "date": datetime.date.today().isoformat(),
        "repeats": bench.repeats,
        "size": asdict(bench.size),
        "cleaning_options": {
            "words": " ".join(comparison.CLEANING),
            "n_jobs": comparison.CLEANING_JOBS,
            "per_run": not quick,
        },
        "label_cleaning_options": studies.CLEANING,
        "limit": {**asdict(comparison.LIMIT), "n_jobs": comparison.LIMIT_JOBS},
        "machine": describe_machine(),
        "image": {
            "n_volumes": data.n_volumes,
            "raw_mib": round(data.mib, 1),
            "file_mib": round(data.image.stat().st_size / 2**20, 1),
        },
    }
    for experiment in EXPERIMENTS:
        results[experiment.__name__] = experiment(bench, data)
    shutil.rmtree(bench.folder(""))
    with whole_file(out / "benchmark.json") as partial:
        partial.write_text(json.dumps(results, indent=1) + "\n")
    report(out)


def report(out: Path) -> None:
    """Write the report from its ``benchmark.json``."""
    from benchmarks.report import write_report  # loads numpy

    write_report(json.loads((out / "benchmark.json").read_text()), out)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of("Measure speed and memory, and write the report.")
    parser.add_argument("--report-only", action="store_true", help="write the report anew from its benchmark.json")
    return parse(parser)


if __name__ == "__main__":
    arguments = parse_arguments()
    with reporting():
        if arguments.report_only:
            report(arguments.out)
        else:
            benchmark(arguments.workdir, arguments.out, arguments.repeats, arguments.quick)
