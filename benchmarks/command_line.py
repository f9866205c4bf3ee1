"""The command line that the programs of the benchmark share."""

import argparse
from pathlib import Path

from benchmarks.bench import FULL, QUICK, Bench


def parser_of(description: str) -> argparse.ArgumentParser:
    """Make a parser with the options that all programs have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=3, help="how often everything is measured (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the report (%(default)s)")
    parser.add_argument("--workdir", type=Path, default=Path(".benchmark"), help="folder of the data (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a trial of this program on tiny data, measured once")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line."""
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("argument --repeats: give a number of at least 1")
    return arguments


def bench_of(workdir: Path, repeats: int, quick: bool) -> Bench:
    """Make what measures, with a folder of its own for trials."""
    workdir = workdir.resolve()  # Snakemake is sent to other folders
    return Bench(workdir / "quick", 1, QUICK) if quick else Bench(workdir / "full", repeats, FULL)
