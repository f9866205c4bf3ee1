#!/usr/bin/env python3
"""Time a dry run for a runs table of many images: wall and processor time, peak memory, and what most of it goes into.

python -m benchmarks.dry_run --workdir .benchmark/many 100 300 1000
"""

import argparse
import contextlib
import cProfile
import os
import pstats
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from roistream.images.writing import new_header, write_image

SNAKEFILE = Path(__file__).parent.parent / "Snakefile"
GRID, N_VOLUMES = (10, 11, 9), 5


def save_study(folder: Path, n_images: int) -> None:
    """Save tiny images of one run each, an atlas of six regions, and the table of runs.

    Parameters
    ----------
    folder : path
        Where to.
    n_images : int
        Images; what a dry run does with an image does not depend on its size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(n_images)
    affine = np.diag([3.0, 3, 3, 1])
    header = new_header((*GRID, N_VOLUMES), np.float32, affine)
    header["pixdim"][4] = 2
    rows = ["image\trun"]
    for number in range(n_images):
        volumes = rng.standard_normal(np.prod(GRID) * N_VOLUMES).astype(np.float32)
        write_image(folder / f"run-{number}.nii.gz", header, [volumes])
        rows.append(f"sub-{number:04}\trun-{number}.nii.gz")
    (folder / "runs.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    atlas = np.arange(np.prod(GRID)) % 7
    write_image(folder / "atlas.nii.gz", new_header(GRID, np.int32, affine), [atlas.astype(np.int32)])


def dry_run_command(folder: Path, strategies: str) -> list[str]:
    """Word the dry run."""
    words = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "--cores", "2", "--snakefile", str(SNAKEFILE)]
    return [*words, "--directory", str(folder), "--config", "dataset=runs.tsv", "atlas=atlas.nii.gz", strategies]


def time_dry_run(folder: Path, strategies: str) -> tuple[float, float, float]:
    """Run it; give wall time and processor time in seconds and the peak RSS in MiB."""
    begin = time.monotonic()
    process = subprocess.Popen(dry_run_command(folder, strategies), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"The dry run failed with the status {status}.")
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def profile_dry_run(folder: Path, strategies: str, n_functions: int) -> None:
    """Print the functions of Snakemake and of the workflow in which most time passes."""
    from snakemake.cli import main

    profiler = cProfile.Profile()
    sys.argv = dry_run_command(folder, strategies)[2:]
    with contextlib.suppress(SystemExit):
        profiler.runcall(main)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(n_functions)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Time a dry run for a runs table of many images.")
    parser.add_argument("n_images", type=int, nargs="+")
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--profile", action="store_true", help="also say what takes the time")
    options = parser.parse_args()
    print("| images | strategies | wall, s | processor, s | peak RSS, MiB |\n| ---: | --- | ---: | ---: | ---: |")
    for n_images in options.n_images:
        folder = options.workdir / str(n_images)
        save_study(folder, n_images)
        for strategies in ("strategies=[stream]", "strategies=all"):
            wall_s, processor_s, peak_mib = time_dry_run(folder, strategies)
            name = strategies.removeprefix("strategies=").strip("[]")
            print(f"| {n_images:,} | `{name}` | {wall_s:.1f} | {processor_s:.1f} | {peak_mib:.0f} |", flush=True)
            if options.profile:
                profile_dry_run(folder, strategies, 25)
