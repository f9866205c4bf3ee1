"""The experiment on the other steps of the workflow, and what each of them asks a scheduler for."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import SCRIPTS, Bench, Command
from benchmarks.data import Data, concatenate_runs
from roistream.strategies import STRATEGIES

ASKED = re.compile(r"^(?:local)?rule (\w+):\n(?: {4}.*\n)*? {4}resources: .*?mem_mb=(\d+)", re.MULTILINE)
"""A job in what a dry run says."""


def steps(bench: Bench, data: Data) -> list[dict]:
    """Run the other steps, without Snakemake; the downloads need the internet and are left out."""
    entries: dict[str, float] = dict.fromkeys(("n_jobs", "n_regions", "n_volumes", "image_mib"), 1)
    entries |= dict.fromkeys(("peak_pss_mib", "peak_rss_mib", "peak_shm_mib", "wall_s"), 1.0)
    summaries = []
    for name in STRATEGIES:
        summaries.append(bench.workdir / f"memory-{name}.json")
        summaries[-1].write_text(json.dumps({"strategy": name, **entries}))

    def step(name: str, *options: object, reads: Sequence[Path] = (), **outputs: str) -> Command:
        named = [
            word for key, file in outputs.items() for word in (f"--{key.replace('_', '-')}", bench.folder(name) / file)
        ]
        return bench.script(name, reads, *options, *named)

    seed = ["--seed", 0]
    subject = ["--subject", data.runs[0].parent.name, *seed]
    if bench.size.n_volumes:
        subject += ["--n-volumes", bench.size.n_volumes]
    place = ["--atlas", data.atlas.original, "--like", data.image]
    placed: dict[str, Any] = {"out": "atlas.nii.gz", "table": "regions.tsv", "coverage": "coverage.npy"}
    split = ["--atlas", data.atlas.labels, "--regions", data.atlas.regions]
    copied: dict[str, Any] = {"masks": "", "out_atlas": "atlas.nii.gz", "out_regions": "regions.tsv"}
    compare = ["--image", "large_fmri", "--summaries", *summaries]
    plain = bench.folder("decompress_image") / "image.nii"
    commands = {
        "simulate_adhd": step("simulate_adhd", *subject, run="run.nii.gz", confounds="confounds.csv"),
        "simulate_atlas": step("simulate_atlas", "--n-parcels", 64, *seed, atlas="atlas.nii.gz"),
        "concatenate_runs": concatenate_runs(bench, data.runs),
        "place_atlas": step("place_atlas", *place, **placed),
        "split_masks": step("split_masks", *split, **copied),
        "decompress_image": step("decompress_image", data.image, plain, reads=[data.image]),
        "compare_memory": step("compare_memory", *compare, table="table.tsv", png="figure.png", svg="figure.svg"),
    }
    rows, asked = bench.rounds("steps", commands), asked_memory(bench)
    return [row | {"asked_mib": asked.get(row["name"])} for row in rows]


def asked_memory(bench: Bench) -> dict[str, int]:
    """Look up what each step asks for, in a dry run of all that `prepare` has made, and of its comparison."""
    folder = bench.workdir / "workflow"
    words = [sys.executable, "-m", "snakemake", "--snakefile", SCRIPTS.parent / "Snakefile", "--directory", folder]
    words += ["--cores", 1, "--dry-run", "--forceall"]
    words += ["--config", f"n_subjects={bench.size.n_subjects}", f"n_volumes={bench.size.n_volumes or 'null'}"]
    said = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True)
    return {name: int(mib) for name, mib in ASKED.findall(said.stdout + said.stderr)}
