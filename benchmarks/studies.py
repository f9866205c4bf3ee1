"""Experiments on studies: the target `timeseries`, and the extraction of label means that it is made of.

An experiment is a function that words commands and gives the rows that `Bench.rounds` makes of them.
"""

import filecmp
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import SCRIPTS, Bench, Command
from benchmarks.data import Atlas, Data
from benchmarks.peers import decompression, labels_masker, mrstats, workbench

CLEANING = ("--detrend", "--high-pass=0.01", "--standardize=zscore_sample")
SNAKEMAKE = (sys.executable, "-m", "snakemake", "--snakefile", SCRIPTS.parent / "Snakefile", "--cores", 2)
TABLE = "image_stat-mean_timeseries.tsv"


def extraction(bench: Bench, title: str, runs: Sequence[Path], atlas: Atlas, options: Sequence = ()) -> Command:
    """Word the extraction of the means of all of an atlas's labels."""
    out = bench.folder(title)
    words = [sys.executable, SCRIPTS / "extract_timeseries.py", "--runs", *runs, "--atlas", atlas.labels]
    words += ["--placed", atlas.regions, atlas.coverage, "--statistics", "mean"]
    return Command([*words, "--out", out / "image", *options], runs, out)


def dry_runs(bench: Bench, data: Data) -> list[dict]:
    """Plan studies of many images, and the comparison for as many."""
    commands: dict[str, Command] = {}
    facts: list[Any] = []
    for (n_images, n_labels), folder in data.planned.items():
        # The comparison has a file for each region, and is not meant for hundreds of them.
        plans = [("timeseries", "all")] if n_labels > 6 else [("all", "[stream]"), ("all", "all")]
        for target, strategies in plans:
            name = f"{target}, {n_images:,} images, {n_labels} labels"
            name += f", strategies: {strategies}" if target == "all" else ""
            out = bench.folder(f"plan-{len(facts)}")
            words = [
                *SNAKEMAKE,
                "--dry-run",
                "--quiet",
                "--directory",
                out,
                "--config",
                f"dataset={folder / 'runs.tsv'}",
            ]
            words += [f"atlas={folder / 'atlas.nii.gz'}", "regions=all", f"strategies={strategies}", "--", target]
            commands[name] = Command(words, [], out)
            facts.append({"target": target, "n_images": n_images, "n_labels": n_labels})
    rows = bench.rounds("dry runs", commands, repeats=1)
    return [row | fact for row, fact in zip(rows, facts, strict=True)]


def study(bench: Bench, data: Data) -> list[dict]:
    """Carry out a study, everything included, against one extraction after the other from a shell."""
    alone, study = bench.folder("one-by-one"), bench.folder("study")
    names = [f"sub-{run.parent.name}_task-rest" for run in data.study]
    table = bench.workdir / "study.tsv"
    rows = [f"{name}\t{run}" for name, run in zip(names, data.study, strict=True)]
    table.write_text("\n".join(["image\trun", *rows]) + "\n")
    calls = []
    for name, run in zip(names, data.study, strict=True):
        words = [sys.executable, SCRIPTS / "extract_regions.py", "--strategy", "stream", "--image", run]
        calls.append(shlex.join(map(str, [*words, "--masks", *data.masks, "--out", alone / name])))
    words = [*SNAKEMAKE, "--directory", study, "--config", f"dataset={table}"]
    words += [f"atlas={data.atlas.original}", "regions=all", "--", "timeseries"]
    commands = {
        f"extract_regions.py, {len(names)} times": Command(["/bin/sh", "-ec", "\n".join(calls)], data.study, alone),
        "snakemake timeseries": Command(words, data.study, study),
    }
    measured = bench.rounds("study", commands)
    for row, command in zip(measured, commands.values(), strict=True):
        row |= {
            "n_images": len(names),
            "files_per_image": max(sum(1 for path in written(command.writes) if belongs(path, name)) for name in names),
            "disk_mib": round(
                sum(path.stat().st_size for path in command.writes.rglob("*") if path.is_file()) / 2**20, 3
            ),
            "input_mib": round(sum(run.stat().st_size for run in data.study) / 2**20, 3),
        }
    return measured


def written(folder: Path) -> Iterator[Path]:
    """List the files below a folder, but for logs and Snakemake's own."""
    for path in folder.rglob("*"):
        if (
            path.is_file()
            and path.suffix != ".log"
            and not {"logs", ".snakemake"} & set(path.relative_to(folder).parts)
        ):
            yield path


def belongs(path: Path, image: str) -> bool:
    """Tell whether a file is of an image: it or its folder is called so."""
    return path.name.startswith(f"{image}_") or path.parent.name == image


def label_means(bench: Bench, data: Data) -> list[dict]:
    """Average all labels of an image; beside it decompression alone, other programs with one region, and nilearn with all."""
    commands = {
        **decompression(bench, data.image, ["igzip"]),
        "extract_timeseries.py, 64 labels": extraction(bench, "labels-64", [data.image], data.atlas),
        "extract_timeseries.py, 444 labels": extraction(bench, "labels-444", [data.image], data.finer_atlas),
        "NiftiLabelsMasker, 64 labels": labels_masker(bench, data.image, data.atlas),
        **workbench(bench, data.image, data.masks[0]),
        **mrstats(bench, data.image, data.masks[0]),
    }
    rows = bench.rounds("label means", commands, unwatched=True)
    ours = commands["extract_timeseries.py, 64 labels"].writes / TABLE
    for row in rows:
        for values in commands[row["name"]].writes.glob("values.*"):
            row |= compare(ours, values)
    return rows


def label_cleaning(bench: Bench, data: Data) -> list[dict]:
    """Average all labels and clean their signals, as nilearn does."""
    options = [*CLEANING, "--confounds", data.confounds]
    commands = {
        "extract_timeseries.py": extraction(bench, "labels-cleaned", [data.image], data.atlas, options),
        "NiftiLabelsMasker": labels_masker(bench, data.image, data.atlas, data.confounds),
    }
    rows = bench.rounds("label means, cleaned", commands, unwatched=True)
    ours, theirs = commands.values()
    rows[1] |= compare(ours.writes / TABLE, theirs.writes / "values.npy")
    return rows


def series(bench: Bench, data: Data) -> list[dict]:
    """Read runs one after another as one image, and the file that is their concatenation."""
    runs = data.runs[: len(data.runs) // 2]
    commands = {
        f"{len(runs)} runs as a series": extraction(bench, "series", runs, data.atlas),
        "their concatenation": extraction(bench, "concatenated", [data.half], data.atlas),
    }
    rows = bench.rounds("series", commands, unwatched=True)
    folders = [command.writes for command in commands.values()]
    for row, folder in zip(rows, folders, strict=True):
        row["written_mib"] = round(sum(path.stat().st_size for path in folder.iterdir()) / 2**20, 3)
        row["input_mib"] = round(sum(run.stat().st_size for run in runs) / 2**20, 3)
    rows[0]["identical"] = filecmp.cmp(folders[0] / TABLE, folders[1] / TABLE, shallow=False)
    return rows


def compare(table: Path, values: Path) -> dict:
    """Compare a table with another program's values, in a process that may load numpy."""
    words = [sys.executable, "-m", "benchmarks.values", table, values]
    return json.loads(subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True).stdout)
