"""The bars of the experiments on studies."""

from benchmarks.bars import Bar, share
from benchmarks.rows import mebibytes, middle, named, seconds

PLANS = {
    ("timeseries", 1000): (30, 400),
    ("timeseries", 10_000): (300, 2560),
    ("all", 1000): (60, 1536),
}
"""Seconds and MiB that the dry run of a target may take for so many images."""

OURS = "extract_timeseries.py, 64 labels"
PEERS = {
    "wb_command -volume-stats, 1 region": (2.5, 15),
    "mrstats -mask, 1 region": (2.5, 15),
    "NiftiLabelsMasker, 64 labels": (6, 25),
}
"""How many times less wall and memory than another program."""


def judge_labels(results: dict) -> list[Bar]:
    """Judge label means against decompression, against other programs, and for more labels."""
    rows = named(results["label_means"])
    peak, wall = (middle(rows[OURS], key) for key in ("peak_pss_mib", "wall_s"))
    bars = [Bar("means of 64 labels: peak PSS", "≤ 56 MiB", f"{mebibytes(peak)} MiB", peak <= 56)]
    if "igzip -dc" in rows:
        measured, holds = share(wall, middle(rows["igzip -dc"], "wall_s"), 1.35)
    else:
        measured, holds = "igzip is not installed", None
    bars.append(Bar("… wall from the .nii.gz, start of the process included", "≤ 1.35 × `igzip -dc`", measured, holds))
    measured, holds = share(middle(rows["extract_timeseries.py, 444 labels"], "wall_s"), wall, 1.1)
    bars.append(Bar("… wall of 444 labels against 64", "≤ 1.1 ×", measured, holds))
    for name, (times_wall, times_memory) in PEERS.items():
        figure, asked = f"… against `{name}`", f"≥ {times_wall} × less wall, ≥ {times_memory} × less memory"
        if name not in rows:
            bars.append(Bar(figure, asked, "is not installed", None))
            continue
        walls, peaks = middle(rows[name], "wall_s") / wall, middle(rows[name], "peak_pss_mib") / peak
        measured = f"{walls:.1f} × ({seconds(middle(rows[name], 'wall_s'))} s), "
        measured += f"{peaks:.1f} × ({mebibytes(middle(rows[name], 'peak_pss_mib'))} MiB)"
        bars.append(Bar(figure, asked, measured, walls >= times_wall and peaks >= times_memory))
    bars.append(judge_identity("… its values", rows["NiftiLabelsMasker, 64 labels"]["identical"]))
    rows = named(results["label_cleaning"])
    peak = middle(rows["extract_timeseries.py"], "peak_pss_mib")
    figure = "… with detrend, high-pass, confounds and z-score: peak PSS"
    bars.append(Bar(figure, "≤ 200 MiB", f"{mebibytes(peak)} MiB", peak <= 200))
    bars.append(judge_identity("… its values against NiftiLabelsMasker's", rows["NiftiLabelsMasker"]["identical"]))
    return bars


def judge_series(results: dict) -> list[Bar]:
    """Judge runs that are read as one image against their concatenation."""
    runs, joined = results["series"]
    # Two figures that should be equal never are: what is as near as the repeats are to each other is no slower.
    measured, holds = share(middle(runs, "wall_s"), middle(joined, "wall_s"), 1.05)
    written = runs["written_mib"]
    return [
        judge_identity(f"{runs['name']}, against their concatenation", runs["identical"]),
        Bar("… wall", "no slower (≤ 1.05 ×)", measured, holds),
        Bar(
            "… written, beside the image",
            "no copy: ≤ 1/100 of the runs",
            f"{mebibytes(written)} of {mebibytes(runs['input_mib'])} MiB",
            written <= runs["input_mib"] / 100,
        ),
    ]


def judge_study(results: dict) -> list[Bar]:
    """Judge a study that is carried out."""
    alone, study = results["study"]
    measured, holds = share(middle(study, "wall_s"), middle(alone, "wall_s"), 1.25)
    n_files, disk = study["files_per_image"], study["disk_mib"]
    return [
        Bar(
            f"study of {study['n_images']} images: `{study['name']}` on 2 cores, everything included",
            "≤ 1.25 × the extractions one after the other",
            measured,
            holds,
        ),
        Bar("… files written for an image", "≤ 4, and logs", str(n_files), n_files <= 4),
        Bar(
            "… disk, all files and logs included",
            "≤ 1/100 of the input",
            f"1/{study['input_mib'] / disk:,.0f} ({mebibytes(disk)} of {mebibytes(study['input_mib'])} MiB)",
            disk <= study["input_mib"] / 100,
        ),
    ]


def judge_dry_runs(results: dict) -> list[Bar]:
    """Judge the planning of studies; a quick trial's are too small for a bar."""
    bars = []
    for row in results["dry_runs"]:
        if limits := PLANS.get((row["target"], row["n_images"])):
            wall, peak = middle(row, "wall_s"), middle(row, "peak_pss_mib")
            asked = f"≤ {limits[0]} s, ≤ {limits[1]:,} MiB"
            measured = f"{seconds(wall)} s, {mebibytes(peak)} MiB"
            bars.append(Bar(f"dry run: {row['name']}", asked, measured, wall <= limits[0] and peak <= limits[1]))
    return bars


def judge_identity(figure: str, identical: bool) -> Bar:
    """Judge values that must be the same."""
    return Bar(figure, "identical, bit by bit", "identical" if identical else "others", identical)
