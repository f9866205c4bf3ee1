"""The experiment on the other steps of the workflow, and what each of them asks a scheduler for."""

import json
import re
import subprocess
import sys

from benchmarks.bench import SCRIPTS, Bench, Command
from benchmarks.data import Data
from roistream.strategies import STRATEGIES

ASKED = re.compile(r"^(?:local)?rule (\w+):\n(?: {4}.*\n)*? {4}resources: .*?mem_mb=(\d+)", re.MULTILINE)
"""A job in what a dry run says."""


def steps(bench: Bench, data: Data) -> list[dict]:
    """Run the other steps, without Snakemake; the downloads need the internet and are left out."""
    entries = dict.fromkeys(("n_jobs", "n_regions", "n_volumes", "image_mib"), 1)
    entries |= dict.fromkeys(("peak_pss_mib", "peak_rss_mib", "peak_shm_mib", "wall_s"), 1.0)
    summaries = []
    for name in STRATEGIES:
        summaries.append(bench.workdir / f"memory-{name}.json")
        summaries[-1].write_text(json.dumps({"strategy": name, **entries}))
    subject = {"subject": data.runs[0].parent.name, "n_volumes": bench.size.n_volumes, "seed": 0}
    figures = {"table": "comparison.tsv", "png": "comparison.png", "svg": "comparison.svg"}
    place, split = bench.folder("place_atlas"), bench.folder("split_masks")
    placing = ["--atlas", data.atlas.original, "--like", data.image, "--out", place / "dseg.nii.gz"]
    placing += ["--table", place / "regions.tsv", "--coverage", place / "coverage.npy"]
    splitting = ["--atlas", data.atlas.labels, "--regions", data.atlas.regions, "--masks", split]
    splitting += ["--out-atlas", split / "atlas.nii.gz", "--out-regions", split / "regions.tsv"]
    image = {"compressed": data.image}
    commands = {
        "simulate_adhd": bench.function(
            "simulate_adhd", [], {"run": "run.nii.gz", "confounds": "confounds.csv"}, **subject
        ),
        "simulate_atlas": bench.function("simulate_atlas", [], {"atlas": "atlas.nii.gz"}, n_parcels=64, seed=0),
        "concatenate_runs": bench.function(
            "concatenate_runs", data.runs, {"image": "image.nii.gz", "run_lengths": "runs.tsv"}, runs=data.runs
        ),
        "place_atlas": Command([sys.executable, SCRIPTS / "place_atlas.py", *placing], [], place),
        "split_masks": Command([sys.executable, SCRIPTS / "split_masks.py", *splitting], [], split),
        "decompress_image": bench.function("decompress_image", [data.image], {"plain": "image.nii"}, **image),
        "compare_memory": bench.function("compare_memory", [], figures, summaries=summaries, image="large_fmri"),
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
